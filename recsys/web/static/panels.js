// The panels of the operator's page: each is drawn whole from one answer of /admin/overview.

import { $, ago, clock, h, number } from "/static/dom.js";
import { bars, versionsPlot } from "/static/plot.js";

const chosen = { metric: "", gate: "" };

const facts = (list, pairs) => list.replaceChildren(...pairs.filter(([, value]) => value !== null && value !== undefined).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
const time = (moment) => h("time", { dateTime: moment, title: clock(moment) }, ago(moment));
const badge = (status) => h("span", { class: `badge ${status}` }, status.replace("_", " "));
const bytes = (value) => (value >= 2 ** 20 ? `${number(value / 2 ** 20, 1)} MB` : `${number(value / 1024)} kB`);

function table(names, rows, empty) {
  if (!rows.length) return h("p", { class: "quiet" }, empty);
  return h("table", {}, h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell) => h("td", {}, cell ?? ""))))));
}

function duration(seconds) {
  if (seconds < 90) return `${number(seconds)} s`;
  if (seconds < 5400) return `${number(seconds / 60)} min`;
  return seconds < 172800 ? `${number(seconds / 3600, 1)} h` : `${number(seconds / 86400, 1)} days`;
}

export function drawAll(seen, { onpin }) {
  drawAlerts(seen);
  drawServed(seen);
  drawTraining(seen.health.retraining.running, seen);
  drawTraffic(seen);
  drawQuality(seen);
  drawFeedback(seen);
  drawGate(seen);
  drawVersions(seen, onpin);
  drawRuns(seen);
  drawActions(seen);
  drawSync(seen.health.sync);
}

function drawAlerts({ health, models }) {
  const found = [];
  if (health.status === "starting") found.push("There is no model yet; the first one is on its way.");
  if (models.degraded) found.push(`Not serving as wished: ${models.degraded}`);
  if (health.feedback.problem) found.push(`Ratings cannot be kept now: ${health.feedback.problem}`);
  const bad = models.items.filter((one) => one.status === "quarantined");
  if (bad.length) found.push(`Quarantined: ${bad.map((one) => `${one.version} (${one.reason})`).join("; ")}`);
  if (health.sync?.problem) found.push(`The bucket: ${health.sync.problem}`);
  if (models.strangers.length) found.push(`In the models directory, and none of ours: ${models.strangers.join(", ")}`);
  $("alerts").replaceChildren(...found.map((text) => h("div", { class: "notice", role: "alert" }, h("p", {}, text))));
}

function drawServed({ health, models }) {
  const one = models.items.find((entry) => entry.version === models.served);
  $("served").textContent = models.served ?? "none yet";
  $("served-why").replaceChildren(...(models.pinned ? [h("span", { class: "badge pinned" }, "pinned"), ` by ${models.pinned_by === "setting" ? "RECSYS_MODEL__VERSION" : "an operator"}`] : [models.because]));
  facts($("served-facts"), [
    ["Since", health.model_loaded_at ? time(health.model_loaded_at) : null],
    ["Trained", one?.created_at ? time(one.created_at) : null],
    ["From", one?.ratings ? `${number(one.ratings)} ratings, ${number(one.users)} users, ${number(one.items)} films` : null],
    ["Service", `${health.version}, up ${duration(health.uptime_s)}, ${health.environment}`],
  ]);
  const accepted = models.items.filter((entry) => entry.status === "accepted" && !entry.served).length;
  $("rollback").disabled = !accepted || models.pinned_by === "setting";
  $("unpin").hidden = models.pinned_by !== "operator";
}

/** Also called for each event of a running job, without a whole answer. */
export function drawTraining(running, seen) {
  $("training-bar").hidden = $("cancel").hidden = !running;
  $("retrain").hidden = Boolean(running);
  if (running) {
    $("training-bar").value = running.progress;
    $("training-bar").textContent = `${Math.round(running.progress * 100)} %`;
    $("training").replaceChildren(h("p", { class: "huge" }, `${Math.round(running.progress * 100)} %`), h("p", { class: "quiet" }, running.status === "queued" ? "queued" : running.stage));
    $("cancel").dataset.job = running.job_id;
  }
  if (!seen) return;
  const { last, next_run: next, enabled } = seen.health.retraining;
  if (!running) $("training").replaceChildren(...(last ? [h("p", {}, badge(last.status), " ", last.model_version ?? "", " ", time(last.ended_at ?? last.created_at)), last.reason ? h("p", { class: "quiet" }, last.reason) : ""] : [h("p", { class: "quiet" }, "No run yet.")]));
  facts($("training-facts"), [["Next run", enabled && next ? `${clock(next)} (${ago(next)})` : "by hand only"]]);
}

function drawTraffic({ traffic, memory_mb: memory, loop_lag_ms: lag }) {
  const ms = (value) => (value === null ? "–" : `${number(value, value < 10 ? 1 : 0)} ms`);
  const tiles = [["per second", number(traffic.per_second, 1)], ["median", ms(traffic.p50_ms)], ["99 of 100 within", ms(traffic.p99_ms)], ["errors / min", number(traffic.errors_per_minute, 1)], ["memory", `${number(memory)} MB`], ["loop lag", ms(lag)]];
  $("traffic").replaceChildren(...tiles.map(([name, value]) => h("div", { class: name.startsWith("errors") && traffic.errors_per_minute > 0 ? "tile bad" : "tile" }, h("b", {}, value), h("span", {}, name))));
  const minutes = traffic.by_minute;
  $("traffic-bars").replaceChildren(minutes.length ? bars(minutes.map((one) => one.requests), `Requests in each of the last ${minutes.length} minutes`, { marked: minutes.map((one) => one.errors > 0) }) : "",
    h("p", { class: "quiet caption" }, `${number(traffic.requests)} answers of the API since the start, ${number(traffic.errors)} errors`));
}

function drawQuality({ measured, models }) {
  const status = new Map(models.items.map((one) => [one.version, one.status]));
  const names = [...new Set(measured.flatMap((one) => Object.keys(one.metrics)))];
  if (!names.includes(chosen.metric)) chosen.metric = measured.at(-1)?.headline || names[0] || "";
  options($("metric"), names, chosen.metric);
  const rows = measured.map((one) => ({ version: one.version, status: status.get(one.version) ?? "", own: one.metrics[chosen.metric], base: one.baseline[chosen.metric] }));
  const focused = document.activeElement?.closest?.(".point")?.getAttribute("aria-label");
  const plot = versionsPlot(rows, { metric: chosen.metric, served: models.served, width: $("plot").clientWidth, onchoose: (version) => { $("gate-version").value = version; $("gate-version").dispatchEvent(new Event("change")); } });
  $("plot").replaceChildren(plot ?? h("p", { class: "quiet" }, "Nothing measured yet."),
    plot ? h("p", { class: "quiet caption legend" }, h("i", { class: "own" }), "this model, with its 95 % interval", h("i", { class: "base" }), "popularity on the same split", h("i", { class: "served" }), "served") : "");
  if (focused) [...$("plot").querySelectorAll(".point")].find((one) => one.getAttribute("aria-label") === focused)?.focus();
  $("metric").onchange = () => { chosen.metric = $("metric").value; drawQuality({ measured, models }); };
}

function options(select, names, value) {
  if ([...select.options].map((one) => one.value).join() !== names.join()) select.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
  select.value = value;
  select.hidden = !names.length;
}

function drawFeedback({ ratings_per_hour: hours, health }) {
  const sum = hours.reduce((total, one) => total + one.ratings, 0);
  $("feedback").replaceChildren(h("p", { class: "huge" }, number(sum)), h("p", { class: "quiet" }, "in the last 24 hours"),
    bars(hours.map((one) => one.ratings), `Ratings in each of the last 24 hours: ${hours.map((one) => one.ratings).join(", ")}`, { height: 120 }),
    h("p", { class: "quiet caption" }, health.feedback.enabled ? `${number(health.feedback.ratings)} came in so far, ${number(health.feedback.waiting)} wait to be written` : "Ratings are not taken in (RECSYS_FEEDBACK__ENABLED)"));
}

function drawGate({ measured }) {
  const names = measured.map((one) => one.version).reverse();
  const version = names.includes(chosen.gate) ? chosen.gate : (names[0] ?? ""); // the newest until one is chosen
  options($("gate-version"), names, version);
  const one = measured.find((entry) => entry.version === version);
  const value = (found) => (found === null ? "–" : number(found, 3));
  $("gate").replaceChildren(table(["Check", "Seen", "Wanted", "Verdict"], (one?.checks ?? []).map((check) => [
    h("span", {}, check.name.replaceAll("_", " "), check.detail ? h("span", { class: "quiet detail" }, check.detail) : null), value(check.value),
    check.threshold === null ? "–" : `${check.at_most ? "≤" : "≥"} ${value(check.threshold)}`, badge(check.passed ? "passed" : "failed")]), "No checks."));
  $("gate-version").onchange = () => { chosen.gate = $("gate-version").value; drawGate({ measured }); };
}

function drawVersions({ models, measured }, onpin) {
  const metrics = new Map(measured.map((one) => [one.version, one.metrics[one.headline]?.value]));
  const headline = measured.at(-1)?.headline ?? "";
  const focused = document.activeElement?.dataset?.pin;
  $("versions").replaceChildren(table(["Version", "State", "Trained", headline, "Ratings", "Size", "Act"], models.items.map((one) => [
    h("b", {}, one.version), h("span", {}, badge(one.served ? "served" : one.status), one.version === models.pinned ? h("span", { class: "badge pinned" }, "pinned") : null, one.reason ? h("span", { class: "quiet detail" }, one.reason) : null),
    one.created_at ? time(one.created_at) : "", Number.isFinite(metrics.get(one.version)) ? number(metrics.get(one.version), 3) : "", one.ratings ? number(one.ratings) : "", one.bytes ? bytes(one.bytes) : "",
    ["accepted", "rejected"].includes(one.status) && models.pinned_by !== "setting" && one.version !== models.pinned ? h("button", { type: "button", class: "quiet-button small", data: { pin: one.version }, "aria-label": `Pin ${one.version}`, onclick: () => onpin(one) }, "Pin") : "",
  ]), "There is no version yet."));
  if (focused) $("versions").querySelector(`[data-pin="${CSS.escape(focused)}"]`)?.focus();
}

function drawRuns({ jobs }) {
  $("runs").replaceChildren(table(["When", "How it ended", "Why it ran"], jobs.map((job) => [time(job.created_at),
    h("span", {}, badge(job.status), job.model_version ? ` ${job.model_version}` : "", job.reason ? h("span", { class: "quiet detail" }, job.reason) : null), job.asked_because]), "No run yet."));
}

function drawActions({ actions }) {
  const said = (details) => Object.entries(details).filter(([, value]) => value !== null).map(([name, value]) => `${name.replaceAll("_", " ")}: ${value}`).join(", ");
  $("actions").replaceChildren(table(["When", "What", "From"], actions.map((one) => [time(one.at), h("span", {}, one.action, said(one.details) ? h("span", { class: "quiet detail" }, said(one.details)) : null), one.remote ?? ""]), "Nothing since the service started."));
}

function drawSync(sync) {
  $("sync-panel").hidden = !sync;
  if (!sync) return;
  const { pointer } = sync;
  const roles = { pull: "follows only", train: "trains and publishes, does not follow", both: "follows, trains and publishes" };
  const reach = { true: badge("reachable"), false: badge("unreachable"), null: "not asked yet" };
  facts($("sync"), [
    ["Bucket", h("span", {}, sync.bucket, " ", reach[sync.reachable])],
    ["Role", `${roles[sync.role]}${sync.single_writer ? "; this store ignores conditional writes, so let one service train" : ""}`],
    ["Current", pointer ? h("span", {}, h("b", {}, pointer.version), ` by ${pointer.who}, `, time(pointer.when), `, move ${number(pointer.generation)}`) : "nothing published yet"],
    ["Asked", sync.checked_at ? time(sync.checked_at) : null],
    ["Doing", sync.doing ? `${sync.doing}, ${Math.round(sync.progress * 100)} %` : null],
    ["To publish", sync.waiting.length ? sync.waiting.join(", ") : null],
    ["Problem", sync.problem],
  ]);
}
