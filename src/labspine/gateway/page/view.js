// Everything on the page that is text: connection, scan, progress, file, alarm, queue.

import { duration, number, since } from "/static/format.js";

const STALE_S = 10;
const STATUS = {
  open: ["run", "running"],
  paused: ["wait", "paused"],
  closed: ["ok", "done"],
  user_completed: ["ok", "ended early"],
  aborted: ["bad", "aborted"],
  halted: ["bad", "halted"],
};

const find = (id) => document.getElementById(id);

/** Show the state that the gateway sent `ageS` seconds ago, and the link to the gateway itself. */
export function showState(link, state, points, ageS) {
  showConnection(link, state, ageS);
  if (!state) return;
  showScan(state.scan);
  showProgress(state, points, link === "connected" ? ageS : 0);
  showLast(state);
}

function showConnection(link, state, ageS) {
  const [kind, text, notice] = connection(link, state, ageS);
  pill(find("connection"), kind, text);
  put(find("notice"), notice);
  find("notice").hidden = notice === "";
}

// The first thing that is wrong, from the browser outwards: [kind, short text, sentence].
function connection(link, state, ageS) {
  if (link === "ended") {
    return ["bad", "session ended", "The session has ended. Open the address that the terminal prints; this page then goes on."];
  }
  if (link === "reconnecting") {
    return ["wait", "reconnecting", "The gateway cannot be reached. The page tries again and then fetches what it missed."];
  }
  if (link !== "connected" || !state) return ["wait", "connecting", ""];
  if (state.broker === "connecting") return ["wait", "connecting to broker", ""];
  if (state.broker === "down") {
    return ["bad", "broker down", "The gateway cannot reach the broker. What is shown may be out of date; it tries again."];
  }
  if (state.server.state === "absent") {
    const seen = state.server.age_s === null ? "" : ` It was last heard ${duration(state.server.age_s)} ago.`;
    return ["bad", "no scan server", `No scan server has reported for 3 s.${seen} Scans cannot be started or paused.`];
  }
  const age = (state.scan?.data_age_s ?? 0) + ageS;
  if (state.scan?.status === "open" && state.scan.points > 0 && age > STALE_S) {
    return ["wait", `stale ${duration(age)}`, ""];
  }
  return ["ok", "connected", ""];
}

function showScan(scan) {
  const status = find("scan-status");
  status.hidden = !scan?.status;
  if (!scan) {
    put(find("scan-title"), "No scan yet");
    put(find("scan-sub"), "The next scan appears here by itself.");
    return;
  }
  const name = scan.name ?? "scan";
  const title = scan.number === null ? name : `#${scan.number} ${name}`;
  put(find("scan-title"), title);
  const [kind, text] = STATUS[scan.status] ?? ["wait", String(scan.status)];
  const why = scan.reason && kind === "bad" ? ` by ${scan.reason}` : "";
  pill(status, kind, text + why);
  const parts = [scan.words, scan.axes.join(", "), scan.sample, scan.started_utc_s ? `started ${since(scan.started_utc_s)}` : null];
  put(find("scan-sub"), parts.filter(Boolean).join(" · "));
  const mark = { run: "▶ ", wait: "❚❚ ", bad: "✕ ", ok: "✓ " }[kind] ?? "";
  document.title = `${mark}${title} · Labspine`;
}

function showProgress(state, points, ageS) {
  const { scan, progress } = state;
  const total = scan?.num_points || progress?.max_value || 0;
  const done = Math.max(scan?.points ?? points, progress?.value ?? 0);
  const bar = find("progress");
  const share = total > 0 ? Math.min(1, done / total) : 0;
  if (bar.value !== share) bar.value = share;
  bar.dataset.kind = STATUS[scan?.status]?.[0] ?? "wait";
  put(find("progress-text"), progressText(scan, done, total, ageS));
}

function progressText(scan, done, total, ageS) {
  if (!scan) return "";
  const isOpen = scan.status === "open";
  const activeS = scan.active_s + (isOpen ? ageS : 0);
  const parts = [total > 0 ? `${number(done)} of ${number(total)} points` : `${number(done)} points`];
  if (total > 0) parts.push(`${Math.round((100 * Math.min(done, total)) / total)} %`);
  if (isOpen && total > done && done > 0) parts.push(`${duration((scan.active_s / done) * (total - done) - ageS)} left`);
  else if (scan.status === "paused") parts.push("paused");
  else parts.push(isOpen ? duration(activeS) : `${activeS.toFixed(1)} s`);
  if (scan.dropped > 0) parts.push(`the first ${number(scan.dropped)} are no longer kept here`);
  return parts.join(" · ");
}

function showLast({ file, alarm, queue }) {
  const state = !file ? "" : !file.done ? " (being written)" : file.successful ? "" : " (failed)";
  putPath(find("file"), file ? file.path + state : "none yet");
  const device = alarm?.device ? `${alarm.device}: ` : "";
  put(find("alarm"), alarm ? `${since(alarm.seen_utc_s)} ${device}${alarm.text} (${alarm.kind})` : "none");
  find("alarm").dataset.kind = alarm ? "bad" : "";
  put(find("queue"), queue ? `${queue.waiting} waiting · ${queue.status.toLowerCase()}` : "–");
}

function pill(element, kind, text) {
  if (element.dataset.kind !== kind) element.dataset.kind = kind;
  put(element.querySelector(".text"), text);
}

// A path may break after its slashes, and is still copied as it is.
function putPath(element, text) {
  if (element.textContent === text) return;
  const parts = text.split(/(?<=\/)/);
  element.replaceChildren(...parts.flatMap((part) => [part, document.createElement("wbr")]));
}

// Screen readers speak what changes: so nothing is written that is there already.
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
