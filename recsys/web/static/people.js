// Who is watching, and what they have rated: kept by the service under a name that this browser remembers, or, for
// ratings that were brought along and not kept, in this page alone.

import { address, ask, path } from "/static/dom.js";

const REMEMBERED = "recsys.viewer";
const AT_ONCE = 1000, NAMED_AT_ONCE = 200, SHOWN = 24;

function newId() {
  const letters = crypto.getRandomValues(new Uint8Array(9));
  return `viewer-${[...letters].map((one) => one.toString(36).padStart(2, "0")).join("").slice(0, 14)}`;
}

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null; // a browser that remembers nothing gets a new name each time
  }
}

function remember(id) {
  try {
    localStorage.setItem(REMEMBERED, id);
  } catch { /* as above */ }
}

function hash(text) {
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (const letter of text) {
    a = Math.imul(a ^ letter.codePointAt(0), 2654435761);
    b = Math.imul(b ^ letter.codePointAt(0), 1597334677);
  }
  return [a, b].map((one) => (one >>> 0).toString(36)).join("");
}

export class Person {
  constructor(id = remembered() ?? newId()) {
    this.become(id);
  }

  become(id) {
    this.id = id;
    this.ratings = new Map(); // item id → { item_id, title, year, rating, timestamp }
    this.onlyHere = false; // ratings are in this page and nowhere else
    remember(id);
  }

  startAfresh() {
    this.become(newId());
  }

  get isNew() {
    return this.id.startsWith("viewer-");
  }

  get name() {
    return this.isNew ? "You" : `Viewer ${this.id}`;
  }

  async load() {
    const found = await ask(path`/api/v1/users/${this.id}/ratings`);
    this.ratings = new Map(found.ratings.map((one) => [one.item_id, one]));
    await this.addTitles(SHOWN);
  }

  /** Find out the titles of the latest `n` ratings; those of withdrawn films stay without. */
  async addTitles(n) {
    const nameless = [...this.ratings.values()].slice(-n).filter((one) => one.title === undefined);
    for (let start = 0; start < nameless.length; start += NAMED_AT_ONCE) {
      const item_id = nameless.slice(start, start + NAMED_AT_ONCE).map((one) => one.item_id);
      const found = await ask(address("/api/v1/items", { item_id, limit: NAMED_AT_ONCE }));
      for (const film of found.items) Object.assign(this.ratings.get(film.item_id) ?? {}, { title: film.title, year: film.year });
    }
  }

  /** Keep a rating, or take it back (null). Where the service takes none from a page, it stays here. */
  async rate(film, rating) {
    if (!this.onlyHere) {
      try {
        if (rating === null) await ask(path`/api/v1/users/${this.id}/ratings/${film.item_id}`, { method: "DELETE" });
        else await ask("/api/v1/ratings", { method: "POST", body: { ratings: [{ user_id: this.id, item_id: film.item_id, rating }] } });
      } catch (error) {
        if (error.status === 401 || error.status === 403) this.onlyHere = true;
        else if (error.code !== "unknown_rating") throw error;
      }
    }
    this.ratings.delete(film.item_id);
    if (rating !== null) this.ratings.set(film.item_id, { item_id: film.item_id, title: film.title, year: film.year, rating, timestamp: new Date().toISOString() });
  }

  /** Recommendations, with reasons. */
  async recommendations(filters, signal) {
    if (!this.onlyHere) {
      const query = new URLSearchParams([["n", filters.n], ["explain", "true"], ...filters.genres.map((one) => ["genre", one])]);
      for (const name of ["year_from", "year_to"]) if (filters[name] !== null) query.set(name, filters[name]);
      return ask(path`/api/v1/users/${this.id}/recommendations` + `?${query}`, { signal });
    }
    const all = [...this.ratings.values()];
    const ratings = all.slice(-AT_ONCE).map(({ item_id, rating, timestamp }) => (timestamp === null || timestamp === undefined ? { item_id, rating } : { item_id, rating, timestamp }));
    return ask("/api/v1/recommendations", { method: "POST", body: { ratings, exclude: all.slice(0, -AT_ONCE).map((one) => one.item_id), explain: true, ...filters }, signal });
  }

  /** Take ratings along that were exported elsewhere. They stay in this page until `keep`. */
  bring(matched) {
    this.brought = matched;
    this.before = { ratings: this.ratings, onlyHere: this.onlyHere };
    const sorted = [...matched].sort((a, b) => (a.timestamp ?? 0) - (b.timestamp ?? 0));
    this.ratings = new Map([...this.ratings, ...sorted.map((one) => [one.item_id, one])]);
    this.onlyHere = true;
  }

  letGo() {
    Object.assign(this, this.before);
    this.brought = null;
  }

  /** Have the service keep what was brought. The same file twice changes nothing. */
  async keep(onProgress) {
    const changed = [...this.ratings.values()].filter((one) => this.before.ratings.get(one.item_id)?.rating !== one.rating);
    for (let start = 0; start < changed.length; start += AT_ONCE) {
      const ratings = changed.slice(start, start + AT_ONCE).map(({ item_id, rating, timestamp }) => ({
        user_id: this.id, item_id, rating, ...(timestamp === null || timestamp === undefined ? {} : { timestamp }),
        event_id: `page-${hash(JSON.stringify([this.id, item_id, rating, timestamp]))}`,
      }));
      await ask("/api/v1/ratings", { method: "POST", body: { ratings } });
      onProgress(Math.min(1, (start + AT_ONCE) / changed.length));
    }
    this.brought = null;
    this.onlyHere = this.before.onlyHere;
    await this.load();
  }

  async forget() {
    await ask(path`/api/v1/users/${this.id}`, { method: "DELETE" });
    this.startAfresh();
  }
}
