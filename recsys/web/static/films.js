// A film on the screen: the card with its stars, the dialog with what is like it, and lists of cards that change gently.

import { $, address, ask, h, number, path } from "/static/dom.js";
import { poster } from "/static/poster.js";
import { stars } from "/static/stars.js";

/** Makes cards. `rating(id)` says what the viewer gave, `onrate(film, rating)` is told what they give. */
export function films({ scale, rating, onrate }) {
  const rate = (film) => stars(film, scale(), rating(film.item_id), (value) => onrate(film, value));

  function reason(film) {
    const liked = (film.because ?? []).filter((one) => one.contribution > 0).slice(0, 2);
    if (!liked.length) return null;
    const parts = liked.flatMap((one, place) => [place ? " and " : "", h("b", {}, one.title)]);
    return h("p", { class: "because" }, "Because you liked ", ...parts);
  }

  function card(film) {
    const open = h("button", { type: "button", class: "open", onclick: () => show(film) }, poster(film), h("span", { class: "unseen" }, "details and similar films"));
    const made = h("article", { class: "card", data: { item: film.item_id } }, open,
      h("h3", {}, film.title), h("p", { class: "about" }, [film.year, ...(film.genres ?? []).slice(0, 2)].filter(Boolean).join(" · ")), rate(film), reason(film));
    return made;
  }

  /** Show these films in `list`. Cards that stay are kept, so that nothing flickers and the focus is not lost. */
  function fill(list, found, { keep = true } = {}) {
    const before = new Map([...list.querySelectorAll(".card:not(.ghost)")].map((one) => [one.dataset.item, one]));
    const focused = list.contains(document.activeElement) ? document.activeElement.closest(".card") : null;
    const place = focused ? [...list.children].indexOf(focused) : -1;
    const cards = found.map((film) => {
      const old = keep ? before.get(film.item_id) : undefined;
      if (!old) {
        const made = card(film);
        if (before.size) made.classList.add("fresh");
        return made;
      }
      old.classList.remove("fresh");
      const said = old.querySelector(".because"), because = reason(film);
      if (said?.textContent !== because?.textContent) {
        said?.remove();
        if (because) old.append(because);
      }
      return old;
    });
    const stays = focused && cards.includes(focused);
    const active = document.activeElement;
    arrange(list, cards);
    if (stays) active.focus({ preventScroll: true });
    else if (place >= 0) (cards[Math.min(place, cards.length - 1)]?.querySelector(".open") ?? $("main")).focus({ preventScroll: true });
  }

  /** Make these the list's children. One that is in its place is not touched: a browser would style and lay it out anew. */
  function arrange(list, cards) {
    const wanted = new Set(cards);
    for (const old of [...list.children]) if (!wanted.has(old)) old.remove();
    for (const [place, made] of cards.entries()) if (list.children[place] !== made) list.insertBefore(made, list.children[place] ?? null);
  }

  /** Open the dialog of a film. */
  async function show(film) {
    const dialog = $("film"), body = $("film-body");
    const like = h("div", { class: "strip small", tabIndex: 0, role: "group", "aria-label": "Similar films" });
    const numbers = h("p", { class: "quiet" }, "…");
    body.replaceChildren(
      h("div", { class: "dialog-head" }, h("h2", { id: "film-title" }, film.title), h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "×")),
      h("div", { class: "film" }, h("div", { "aria-hidden": "true" }, poster(film)), h("div", {},
        h("p", { class: "about" }, [film.year, ...(film.genres ?? [])].filter(Boolean).join(" · ")), numbers,
        h("h3", { class: "asked" }, "Your rating"), rate(film), reason(film))),
      h("h3", {}, "More like this"), like);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    body.querySelector(".close").focus();
    try {
      const [detail, similar] = await Promise.all([ask(path`/api/v1/items/${film.item_id}`), ask(address(path`/api/v1/items/${film.item_id}/similar`, { n: 12 }))]);
      numbers.textContent = detail.n_ratings
        ? `${number(detail.n_ratings)} ratings · ${number(detail.liked_share * 100)} % of all viewers gave it four stars or more`
        : "Nobody has rated it yet";
      like.replaceChildren(...similar.items.map(card));
      if (!similar.items.length) like.replaceChildren(h("p", { class: "quiet" }, "Too few have rated this film to say."));
    } catch (error) {
      numbers.textContent = "";
      like.replaceChildren(h("p", { class: "problem" }, error.message));
    }
  }

  return { card, fill, show };
}

/** Grey cards while a list is on its way. */
export function placeholders(list, n) {
  list.replaceChildren(...Array.from({ length: n }, () => h("div", { class: "card ghost", "aria-hidden": "true" }, h("div", { class: "poster" }), h("span"), h("span"))));
}
