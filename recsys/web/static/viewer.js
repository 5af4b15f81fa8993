// The viewer's page: search, browse, rate, and see the recommendations change at once.

import { $, address, ask, h, number, wait } from "/static/dom.js";
import { films, placeholders } from "/static/films.js";
import { importing } from "/static/importing.js";
import { Person } from "/static/people.js";
import { showEverywhere } from "/static/stars.js";

const SHOWN = 18, PAGE = 24, IN_ROW = 20, RATED = 24, PERSONAL_FROM = 5;
const person = new Person();
const chosen = { genres: new Set(), year_from: null, year_to: null };
let scale = { low: 1, high: 5, step: 1 }, searching = null, latest = 0, everyRating = false;

const { card, fill } = films({ scale: () => scale, rating: (id) => person.ratings.get(id)?.rating, onrate: rate });
const say = (text) => { $("said").textContent = text; };

// ---- notices ----
function notice(id, text, ...actions) {
  $(id)?.remove();
  if (text) $("notices").append(h("div", { id, class: "notice", role: "status" }, h("p", {}, text), h("div", { class: "actions" }, ...actions)));
}

let undoing = null;
function toast(text, undo) {
  clearTimeout(undoing);
  $("toast-text").textContent = text;
  $("toast").hidden = false;
  $("toast-undo").hidden = !undo;
  $("toast-undo").onclick = () => { $("toast").hidden = true; undo(); };
  undoing = setTimeout(() => { $("toast").hidden = true; }, 8000);
}

function failed(error, again) {
  if (error.name === "AbortError") return;
  if (error.code === "model_not_ready") return void start();
  notice("failed", error.code === "offline" ? "The service does not answer just now, so that was not kept." : error.message,
    h("button", { type: "button", class: "quiet-button", onclick: () => { notice("failed"); again(); } }, "Try again"));
  say(error.message);
}

// ---- rating ----
async function rate(film, rating) {
  const before = person.ratings.get(film.item_id)?.rating ?? null;
  showEverywhere(film.item_id, rating);
  try {
    await person.rate(film, rating);
    performance.mark("kept");
    notice("failed");
    toast(rating === null ? `Took your rating of ${film.title} back` : `${film.title}: ${number(rating / scale.high * 5, rating % 1 ? 1 : 0)} stars`, () => rate(film, before));
  } catch (error) {
    showEverywhere(film.item_id, before);
    return failed(error, () => rate(film, rating));
  }
  const shown = recommend(rating === null ? `Took ${film.title} back.` : `Rated ${film.title}.`);
  drawPerson(); // while the answer is on its way
  await shown;
  performance.mark("recommended");
}

// ---- for you ----
async function recommend(news = "") {
  const mine = ++latest;
  const filters = { n: SHOWN, genres: [...chosen.genres], year_from: chosen.year_from, year_to: chosen.year_to };
  try {
    const found = await person.recommendations(filters);
    if (mine !== latest) return;
    performance.mark("answered");
    drawForYou(found);
    if (news) say(`${news} Recommendations updated${found.items.length ? `; first is ${found.items[0].title}` : ""}.`);
  } catch (error) {
    failed(error, recommend);
  }
}

function drawForYou({ strategy, items, model_version: version }) {
  const list = $("for-you-list"), known = person.ratings.size;
  $("model").textContent = `Model ${version} · `;
  const [title, lead] = {
    popular: known ? ["What most people like", "None of the films you rated is one the model has learned yet. Rate another."] : ["Which of these do you know?", "Give a few of them stars. The list changes with every one."],
    blended: ["Getting to know you", "What you like, and what most people like. A few more stars, and it is all yours."],
    personalized: ["For you", `Worked out from what ${person.isNew ? "you" : person.name.toLowerCase()} rated, and from nothing else.`],
  }[strategy];
  $("for-you-title").textContent = title;
  $("for-you-lead").textContent = lead;
  const learned = $("learned");
  learned.hidden = strategy === "personalized";
  learned.replaceChildren(...Array.from({ length: PERSONAL_FROM }, (_, i) => h("i", { class: i < known ? "on" : "" })), h("span", {}, `${Math.min(known, PERSONAL_FROM)} of ${PERSONAL_FROM}`));
  fill(list, items);
  if (!items.length) list.replaceChildren(h("p", { class: "empty" }, "No film you have not rated fits these filters. ", h("button", { type: "button", class: "text-button", onclick: resetFilters }, "Reset filters")));
}

// ---- rows, search, ratings ----
const filtered = () => ({ genre: [...chosen.genres], year_from: chosen.year_from, year_to: chosen.year_to });

async function rows() {
  try {
    const [popular, trending] = await Promise.all([
      ask(address("/api/v1/items/popular", { n: IN_ROW, ...filtered() })), ask(address("/api/v1/items/trending", { n: IN_ROW, ...filtered() }))]);
    fill($("popular-list"), popular.items);
    fill($("trending-list"), trending.items);
    $("popular").hidden = !popular.items.length;
    $("trending").hidden = !trending.items.length;
  } catch (error) {
    failed(error, rows);
  }
}

async function search({ more = false } = {}) {
  const query = $("query").value.trim();
  if (searching === null && !query) return;
  searching?.stop.abort();
  searching = { stop: new AbortController(), offset: more ? searching.offset + PAGE : 0 };
  $("home").hidden = true;
  $("results").hidden = false;
  try {
    const found = await ask(address("/api/v1/items", { query, limit: PAGE, offset: searching.offset, ...filtered() }), { signal: searching.stop.signal });
    if (more) $("results-list").append(...found.items.map(card));
    else fill($("results-list"), found.items, { keep: false });
    $("results-title").textContent = query ? `“${query}”` : "All films";
    if (!found.total) $("results-list").replaceChildren(h("p", { class: "empty" }, "No film matches. Fewer letters often find more."));
    $("results-more").hidden = searching.offset + PAGE >= found.total;
    say(found.total === 1 ? "1 film found" : `${number(found.total)} films found`);
  } catch (error) {
    failed(error, search);
  }
}

function closeSearch() {
  searching?.stop.abort();
  searching = null;
  $("query").value = "";
  $("results").hidden = true;
  $("home").hidden = false;
}

function drawPerson() {
  $("who-name").textContent = person.isNew && !person.ratings.size ? "New viewer" : person.name;
  const all = [...person.ratings.values()].reverse(), some = everyRating ? all : all.slice(0, RATED);
  $("rated").hidden = !all.length;
  $("rated-title").textContent = `${person.isNew ? "Your ratings" : `Ratings of ${person.name.toLowerCase()}`} (${number(all.length)})`;
  $("rated-all").hidden = all.length <= RATED || everyRating;
  $("rated-list").replaceChildren(...some.map((one) => {
    const film = { item_id: one.item_id, title: one.title ?? one.item_id, year: one.year, genres: [] };
    return h("li", {}, h("span", { class: "what" }, film.title, film.year ? h("span", { class: "quiet" }, ` ${film.year}`) : null), h("span", { class: "score", "aria-label": `${number(one.rating / scale.high * 5, 1)} of 5 stars` }, `★ ${one.rating}`),
      h("button", { type: "button", class: "clear", "aria-label": `Take the rating of ${film.title} back`, onclick: () => rate(film, null) }, "×"));
  }));
  notice("only-here", person.brought ? `Recommendations from ${number(person.brought.length)} brought ratings. They are in this page only.` : person.onlyHere ? "This service takes ratings from its own application only: yours stay in this page." : null,
    person.brought ? h("button", { type: "button", id: "keep", onclick: keep }, "Keep them") : "",
    person.brought ? h("button", { type: "button", class: "quiet-button", onclick: () => { person.letGo(); redraw(); } }, "Let them go") : "");
}

async function keep(event) {
  const button = event.currentTarget;
  button.disabled = true;
  try {
    await person.keep((share) => { button.textContent = `${number(share * 100)} %`; });
    redraw();
    toast("Your ratings are kept", null);
  } catch (error) {
    button.disabled = false;
    button.textContent = "Keep them";
    failed(error, () => $("keep")?.click());
  }
}

// ---- filters ----
function drawFilters(names, years) {
  $("genres").replaceChildren(...names.map((name) => h("button", { type: "button", class: "chip", "aria-pressed": String(chosen.genres.has(name)), onclick: (event) => {
    const on = !chosen.genres.delete(name);
    if (on) chosen.genres.add(name);
    event.currentTarget.setAttribute("aria-pressed", String(on));
    filter();
  } }, name)));
  if (years.length) {
    $("year-from").placeholder = String(years[0]);
    $("year-to").placeholder = String(years[1]);
  }
}

function readYears() {
  const year = (id) => { const value = Number.parseInt($(id).value, 10); return value >= 1 && value <= 9999 ? value : null; };
  chosen.year_from = year("year-from");
  chosen.year_to = year("year-to");
  const wrong = chosen.year_from !== null && chosen.year_to !== null && chosen.year_from > chosen.year_to;
  $("year-to").setCustomValidity(wrong ? "This is before the first year" : "");
  $("year-to").setAttribute("aria-invalid", String(wrong));
  if (wrong) chosen.year_to = null;
}

function filter() {
  $("filters-reset").hidden = !chosen.genres.size && chosen.year_from === null && chosen.year_to === null;
  if (searching) search();
  recommend("Filters changed.");
  rows();
}

function resetFilters() {
  chosen.genres.clear();
  $("year-from").value = $("year-to").value = "";
  readYears();
  for (const chip of $("genres").children) chip.setAttribute("aria-pressed", "false");
  filter();
}

// ---- who ----
async function redraw() {
  everyRating = false;
  drawPerson();
  for (const group of document.querySelectorAll("fieldset.stars")) group.show(person.ratings.get(group.dataset.item)?.rating);
  await recommend();
}

async function become(id) {
  person.become(id);
  await person.load();
  closeSearch();
  await redraw();
}

function openViewer() {
  $("viewer-now").textContent = person.isNew ? `You are new here, with ${number(person.ratings.size)} ${person.ratings.size === 1 ? "rating" : "ratings"}.` : `You are looking in as viewer ${person.id}, who has ${number(person.ratings.size)} ratings.`;
  $("viewer-problem").textContent = "";
  $("viewer").showModal();
}

async function openKnown(event) {
  event.preventDefault();
  const id = $("viewer-id").value.trim();
  try {
    const found = await ask(`/api/v1/users/${encodeURIComponent(id)}/ratings`);
    if (!found.ratings.length) {
      $("viewer-problem").textContent = `Nobody of the id ${id} has rated anything.`;
      return;
    }
    $("viewer").close();
    await become(id);
  } catch (error) {
    $("viewer-problem").textContent = error.message;
  }
}

// ---- start ----
async function start() {
  const about = $("waiting"), content = $("content");
  for (;;) {
    try {
      const [genres] = await Promise.all([ask("/api/v1/genres"), person.load()]);
      scale = genres.scale;
      about.hidden = true;
      content.hidden = false;
      notice("failed");
      drawFilters(genres.items, genres.years);
      drawPerson();
      if (!$("for-you-list").children.length) for (const [id, n] of [["for-you-list", 12], ["popular-list", 8]]) placeholders($(id), n);
      await Promise.all([recommend(), rows()]);
      return;
    } catch (error) {
      if (error.code !== "model_not_ready" && error.code !== "offline") return failed(error, start);
      content.hidden = true;
      about.hidden = false;
      await drawWaiting(error);
      await wait(error.code === "offline" ? 2000 : 700);
    }
  }
}

async function drawWaiting(error) {
  const state = await fetch("/health/ready").then((answer) => answer.json()).catch(() => null);
  const bar = $("waiting-bar");
  $("waiting-title").textContent = state ? "The first model is on its way" : "The service does not answer";
  $("waiting-stage").textContent = state ? `It learns from the ratings now${state.stage ? `: ${state.stage}` : ""}. This page goes on by itself.` : `${error.message} This page tries again by itself.`;
  if (state?.progress) bar.value = state.progress;
  else bar.removeAttribute("value");
}

let typing = null;
$("query").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => ($("query").value.trim() ? search() : closeSearch()), 120);
});
$("query").addEventListener("keydown", (event) => { if (event.key === "Escape") closeSearch(); });
$("search").addEventListener("submit", (event) => { event.preventDefault(); search(); });
$("browse").addEventListener("click", () => { searching = { stop: new AbortController(), offset: 0 }; search(); scrollTo({ top: 0 }); });
$("results-more").addEventListener("click", () => search({ more: true }));
$("results-close").addEventListener("click", () => { closeSearch(); $("query").focus(); });
$("filters").addEventListener("submit", (event) => event.preventDefault());
for (const id of ["year-from", "year-to"]) $(id).addEventListener("change", () => { readYears(); filter(); });
$("filters-reset").addEventListener("click", resetFilters);
$("rated-all").addEventListener("click", async () => {
  everyRating = true;
  await person.addTitles(Infinity).catch(() => null); // without their titles they are shown by their ids
  drawPerson();
});
$("who").addEventListener("click", openViewer);
$("viewer-known").addEventListener("submit", openKnown);
$("viewer-new").addEventListener("click", () => { person.startAfresh(); $("viewer").close(); closeSearch(); redraw(); });
$("viewer-forget").addEventListener("click", async () => {
  if (!confirm(`Forget ${person.isNew ? "you" : `viewer ${person.id}`} and every rating? This cannot be undone.`)) return;
  try { await person.forget(); $("viewer").close(); redraw(); } catch (error) { $("viewer-problem").textContent = error.message; }
});
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
importing(person, redraw);
start();
