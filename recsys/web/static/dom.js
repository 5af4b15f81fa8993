// What every page needs: elements made of text, questions to the service, and words for times and numbers.
// Text only ever goes in as text: there is no way from a title to markup here.

export function h(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && !name.startsWith("aria")) made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export const $ = (id) => document.getElementById(id);

/** What went wrong, in words for the reader. */
export class Problem extends Error {
  constructor(status, code, detail, hint, wait) {
    super(hint ? `${detail} (${hint})` : detail);
    Object.assign(this, { status, code, wait });
  }
}

/** Ask the service. JSON in, JSON out; everything else is thrown as a Problem. */
export async function ask(path, { method = "GET", body, headers = {}, signal } = {}) {
  const options = { method, headers: { ...headers }, signal };
  if (body instanceof Blob) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "offline", "The service does not answer.");
  }
  const isJson = /json/.test(response.headers.get("Content-Type") ?? "");
  const answer = isJson ? await response.json().catch(() => ({})) : {};
  if (response.ok) return answer;
  const wait = Number(response.headers.get("Retry-After")) || null;
  throw new Problem(response.status, answer.code ?? "http", answer.detail ?? response.statusText, answer.hint, wait);
}

/** An address with its parameters; those without a value are left out, a list is repeated. */
export function address(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "" && one !== false) query.append(name, one);
    }
  }
  return query.size ? `${path}?${query}` : path;
}

/** A path of which some parts are ids: address`/api/v1/items/${id}`. */
export const path = (parts, ...ids) => String.raw({ raw: parts }, ...ids.map(encodeURIComponent));

export const number = (value, digits = 0) =>
  value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });

export function ago(moment, now = Date.now()) {
  const seconds = Math.round((now - new Date(moment).getTime()) / 1000);
  const steps = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  let value = seconds;
  for (const [unit, size] of steps) {
    if (Math.abs(value) < size) return unit === "second" && Math.abs(value) < 5 ? "just now" : words.format(-Math.round(value), unit);
    value /= size;
  }
  return "";
}

export const clock = (moment) =>
  new Date(moment).toLocaleString("en", { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false });

export const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
