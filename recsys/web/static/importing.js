// Brings ratings along: sends the file to be matched, shows what was found and what was not and why, and asks whether to
// keep it.

import { $, ask, h, number } from "/static/dom.js";

const NAMES = { imdb: "IMDb", letterboxd: "Letterboxd", trakt: "Trakt" };
const MAX_BYTES = 8 * 2 ** 20;

/** `person` gets the ratings; `changed` is called when they are there, kept or let go. */
export function importing(person, changed) {
  const dialog = $("import"), file = $("import-file"), drop = $("import-drop"), problem = $("import-problem"), done = $("import-done");

  const reset = () => {
    $("import-choose").hidden = false;
    done.hidden = true;
    problem.textContent = "";
    file.value = "";
    drop.classList.remove("busy");
  };

  async function take(chosen) {
    if (!chosen) return;
    problem.textContent = "";
    if (chosen.size > MAX_BYTES) {
      problem.textContent = `That file has ${number(chosen.size / 2 ** 20)} MB; an export of ratings has at most ${MAX_BYTES / 2 ** 20}.`;
      return;
    }
    drop.classList.add("busy");
    try {
      const found = await ask("/api/v1/import", { method: "POST", body: new Blob([chosen], { type: "application/octet-stream" }) });
      if (found.matched.length) {
        if (person.brought) person.letGo();
        person.bring(found.matched);
        changed();
      }
      show(found);
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      drop.classList.remove("busy");
    }
  }

  function show({ format, matched, unmatched, counts }) {
    const share = counts.ratings ? counts.matched / counts.ratings : 0;
    const meter = h("div", { class: "meter", "aria-hidden": "true" }, h("span"));
    meter.firstChild.style.setProperty("width", `${share * 100}%`);
    done.replaceChildren(
      h("p", { class: "big", id: "import-outcome" }, `${number(counts.matched)} of ${number(counts.ratings)} films found`), meter,
      h("p", {}, `From ${NAMES[format]}. `, counts.matched ? "They count in your recommendations now, in this page only." : "None of them is in this catalogue, so nothing has changed."),
      unmatched.length ? h("details", {}, h("summary", {}, `${number(unmatched.length)} not found`), table(["Film", "Why"], unmatched.map((one) => [titled(one), one.why]))) : null,
      matched.length ? h("details", {}, h("summary", {}, `${number(matched.length)} found`), table(["Film", "In the file", "Here"], matched.map((one) => [titled(one), one.given, String(one.rating)]))) : null,
      h("div", { class: "actions" },
        matched.length ? h("button", { type: "button", id: "import-see", onclick: () => dialog.close() }, "See my recommendations") : null,
        h("button", { type: "button", class: matched.length ? "quiet-button" : "", onclick: reset }, "Choose another file")));
    $("import-choose").hidden = true;
    done.hidden = false;
    (done.querySelector("#import-see") ?? done.querySelector("button")).focus();
  }

  file.addEventListener("change", () => take(file.files[0]));
  for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.remove("over"); });
  drop.addEventListener("drop", (event) => take(event.dataTransfer.files[0]));
  $("import-open").addEventListener("click", () => { reset(); dialog.showModal(); });
}

const titled = (one) => `${one.title || "(no title)"}${one.year ? ` (${one.year})` : ""}`;
const SHOWN = 500;

function table(names, rows) {
  const more = rows.length > SHOWN ? h("p", { class: "quiet" }, `and ${number(rows.length - SHOWN)} more`) : null;
  return h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": names.join(", ") },
    h("table", {}, h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows.slice(0, SHOWN).map((cells) => h("tr", {}, ...cells.map((cell) => h("td", {}, cell)))))), more);
}
