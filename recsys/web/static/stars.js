// Stars to rate with: a group of radio buttons under a drawing, so that a mouse, keys and a screen reader all work.

import { h } from "/static/dom.js";

const KEYS_SETTLE_MS = 450;
let groups = 0;

/** The ratings that a data set's scale allows, as at most ten steps: [[rating, stars of five], …]. */
export function steps(scale) {
  if (scale.low === scale.high) return [[scale.low, 5]];
  const found = new Map();
  for (let half = 1; half <= 10; half++) {
    const raw = (half / 10) * scale.high;
    const rating = Math.round((scale.low + Math.round((raw - scale.low) / scale.step) * scale.step) * 1e4) / 1e4;
    if (rating >= scale.low && rating <= scale.high && Math.abs(rating - raw) < 1e-6) found.set(rating, half / 2);
  }
  return found.size ? [...found] : [[scale.high, 5]];
}

/** A group for one film. `onrate` is told a rating, or null when it is taken back. */
export function stars(film, scale, rating, onrate) {
  const allowed = steps(scale), name = `stars-${++groups}`, width = 100 / allowed.length;
  const fill = (stars) => group.style.setProperty("--fill", `${stars * 20}%`);
  const said = (value) => (allowed.find(([one]) => one === value) ?? [0, (value ?? 0) / scale.high * 5])[1];
  let current = rating ?? null, settle = null, byPointer = false;

  const show = (value) => {
    current = value ?? null;
    fill(said(current));
    for (const input of inputs) input.checked = Number(input.value) === current;
    group.classList.toggle("rated", current !== null);
    clear.hidden = current === null;
  };
  const choose = (value, later) => {
    clearTimeout(settle);
    fill(said(value));
    // arrow keys pass through every value on their way: the one where they rest counts
    if (later) settle = setTimeout(() => onrate(value), KEYS_SETTLE_MS);
    else onrate(value);
  };
  const inputs = allowed.map(([value, shown], place) => {
    const words = `${shown} ${shown === 1 ? "star" : "stars"}`;
    const input = h("input", { type: "radio", name, value: String(value), title: words, "aria-label": words });
    input.style.setProperty("left", `${place * width}%`);
    input.style.setProperty("width", `${width}%`);
    input.addEventListener("pointerenter", () => fill(shown));
    input.addEventListener("pointerdown", () => { byPointer = true; });
    input.addEventListener("click", () => {
      if (byPointer && current === value) {
        byPointer = false;
        choose(null, false);
      }
    });
    input.addEventListener("change", () => {
      choose(value, !byPointer);
      byPointer = false;
    });
    return input;
  });
  const clear = h("button", { type: "button", class: "clear", title: "Take the rating back", "aria-label": `Take your rating of ${film.title} back`, onclick: () => choose(null, false) }, "×");
  const row = h("div", { class: "row" }, ...inputs);
  const group = h("fieldset", { class: "stars", data: { item: film.item_id } }, h("legend", { class: "unseen" }, `Your rating of ${film.title}`), row, clear);
  row.addEventListener("pointerleave", () => fill(said(current)));
  group.addEventListener("keydown", (event) => {
    if (event.key === "Delete" || event.key === "Backspace") choose(null, false);
  });
  group.show = show;
  show(current);
  return group;
}

/** Show a film's rating wherever it can be seen. */
export function showEverywhere(itemId, rating) {
  for (const group of document.querySelectorAll("fieldset.stars")) {
    if (group.dataset.item === itemId) group.show(rating);
  }
}
