// The operator's page: signs in, keeps what it shows true through server-sent events, and acts.
// What happened is only a hint: after each event, and after every lost connection, the whole is asked for again.

import { $, ask, path } from "/static/dom.js";
import { drawAll, drawTraining } from "/static/panels.js";

const EVERY_MS = 5000, AGAIN_MS = 1500;
const KINDS = ["job", "swap", "quarantine", "pin", "schedule", "action", "sync"];
let events = null, asked = null, soon = null, signedIn = false;

const link = (state, words) => { $("link").className = `pill ${state}`; $("link").textContent = words; };

function signOut(why = "") {
  signedIn = false;
  events?.close();
  events = null;
  $("panels").hidden = $("sign-out").hidden = true;
  $("sign-in").hidden = false;
  $("sign-in-problem").textContent = why;
  link("", "signed out");
  if ($("confirm").open) $("confirm").close("no");
  $("token").focus();
}

async function refresh() {
  clearTimeout(soon);
  soon = null;
  asked?.abort();
  const mine = (asked = new AbortController());
  try {
    const seen = await ask("/admin/overview", { signal: mine.signal });
    if (!signedIn) {
      signedIn = true;
      $("sign-in").hidden = true;
      $("panels").hidden = $("sign-out").hidden = false;
    }
    drawAll(seen, { onpin: pin });
    if (!events) follow();
    else if (events.readyState === EventSource.OPEN) link("good", "live");
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) return void signOut(signedIn ? "Your session has ended: the service was restarted, or twelve hours have passed." : "");
    link("bad", error.code === "offline" ? "connection lost, trying again" : error.message);
    if (!signedIn) $("sign-in").hidden = false;
    soon = setTimeout(refresh, AGAIN_MS);
  }
}

/** Ask again soon, once for many events. */
function refreshSoon() {
  soon ??= setTimeout(refresh, 80);
}

function follow() {
  events = new EventSource("/admin/events");
  const mine = events;
  events.addEventListener("open", () => { link("good", "live"); refreshSoon(); });
  events.addEventListener("error", () => {
    if (mine !== events) return;
    link("bad", "connection lost, trying again");
    if (mine.readyState === EventSource.CLOSED) {
      events = null; // an answer that was no stream: a restart ended the session, or there are too many listeners
      soon ??= setTimeout(refresh, AGAIN_MS);
    }
  });
  for (const kind of KINDS) {
    events.addEventListener(kind, (event) => {
      const told = JSON.parse(event.data);
      if (kind === "job" && ["queued", "running"].includes(told.status)) drawTraining(told);
      if (kind !== "job" || !["queued", "running"].includes(told.status)) refreshSoon();
    });
  }
}

// ---- acting ----
let answered = null; // who waits for the question that is open

/** Ask, and say whether the answer was yes. A new question answers an older one with no. */
function confirmed(title, text, yes) {
  const dialog = $("confirm");
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  answered?.(false);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => { answered = resolve; });
}

$("confirm").addEventListener("close", ({ target }) => {
  if (target.open) return; // the event comes a moment after the closing: the next question may be open already
  answered?.(target.returnValue === "yes");
  answered = null;
});

async function act(button, path_, options) {
  button.disabled = true;
  try {
    await ask(path_, options);
  } catch (error) {
    if (error.status === 401) return void signOut("Your session has ended. Nothing was done.");
    await confirmed("That did not work", error.message, "All right");
  } finally {
    button.disabled = false;
    refresh();
  }
}

async function pin(one) {
  const warning = one.status === "rejected" ? `The gate refused this version: ${one.reason}. ` : "";
  if (await confirmed(`Pin ${one.version}?`, `${warning}It is served at once, and stays until the pin is lifted, whatever is trained meanwhile.`, "Pin it")) {
    await act($("versions"), "/admin/pin", { method: "PUT", body: { version: one.version } });
  }
}

$("rollback").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  if (await confirmed("Roll back?", `The highest accepted version below ${$("served").textContent} is served at once and pinned.`, "Roll back")) await act(button, "/admin/rollback", { method: "POST" });
});
$("unpin").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  if (await confirmed("Lift the pin?", "The highest accepted version is served from then on.", "Lift it")) await act(button, "/admin/pin", { method: "DELETE" });
});
$("retrain").addEventListener("click", (event) => act(event.currentTarget, "/admin/retrain", { method: "POST" }));
$("sync-now").addEventListener("click", (event) => act(event.currentTarget, "/admin/sync", { method: "POST" }));
$("cancel").addEventListener("click", (event) => act(event.currentTarget, path`/admin/jobs/${event.currentTarget.dataset.job}/cancel`, { method: "POST" }));
$("sign-out").addEventListener("click", async () => {
  await ask("/admin/session", { method: "DELETE" }).catch(() => null);
  signOut();
});
$("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) {
    $("sign-in-problem").textContent = "That is not the admin token";
    return;
  }
  try {
    await ask("/admin/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
    $("token").value = "";
    await refresh();
    $("main").focus();
  } catch (error) {
    $("sign-in-problem").textContent = error.message;
  }
});
setInterval(() => { if (signedIn && !document.hidden && !soon) refresh(); }, EVERY_MS);
document.addEventListener("visibilitychange", () => { if (signedIn && !document.hidden) refresh(); });
refresh();
