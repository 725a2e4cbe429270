// Puts the parts together: updates change the store, and once a frame the screen follows.

import { peakOf } from "/static/peaks.js";
import { LivePlot } from "/static/plot.js";
import { number } from "/static/format.js";
import { GatewaySocket } from "/static/socket.js";
import { PointStore } from "/static/store.js";
import { fastestAxis, splitSweeps } from "/static/sweeps.js";
import { Controls } from "/static/controls.js";
import { PointTable, Selectors } from "/static/points.js";
import { showState } from "/static/view.js";

const INDEX = "point";

const store = new PointStore();
const page = { link: "connecting", state: null, receivedMs: 0, chosen: { x: null, y: null } };
const readout = document.getElementById("readout");
const plot = new LivePlot(document.getElementById("plot"), showPoint);
const table = new PointTable(document.getElementById("points-head"), document.getElementById("points-body"));
const selectors = new Selectors(document.getElementById("x-select"), document.getElementById("y-select"), (which, name) => {
  page.chosen[which] = name;
  drawn.version = -1;
  wake();
});
const socket = new GatewaySocket({ onUpdate: take, onLink: linkChanged, position: () => store.position() });
const controls = new Controls((action, scanId) => socket.command(action, scanId));
const drawn = { version: -1, curve: null, status: null, notBeforeMs: 0 };
let isAwake = false;

function take(update) {
  page.state = update.state;
  page.receivedMs = performance.now();
  const scanId = update.state.scan?.scan_id ?? null;
  if (scanId !== store.scanId) page.chosen = { x: null, y: null };
  store.belongsTo(update.epoch, scanId);
  if (update.points && update.points.scan_id === scanId) store.add(update.points);
  wake();
}

function linkChanged(link) {
  page.link = link;
  wake();
}

// All drawing happens here, at most once a frame, however many updates came.
function wake() {
  if (isAwake) return;
  isAwake = true;
  requestAnimationFrame(() => {
    isAwake = false;
    render();
  });
}

function render() {
  const ageS = (performance.now() - page.receivedMs) / 1000;
  showState(page.link, page.state, store.length, ageS);
  controls.show(page.link, page.state);
  const status = page.state?.scan?.status ?? null;
  if (store.version === drawn.version && status === drawn.status) return;
  const begunMs = performance.now();
  if (begunMs < drawn.notBeforeMs) {
    setTimeout(wake, drawn.notBeforeMs - begunMs);
    return;
  }
  drawn.version = store.version;
  drawn.status = status;
  drawn.curve = curve();
  plot.show(drawn.curve);
  table.show(store, drawn.curve.axisNames, page.state?.scan);
  showPeak(drawn.curve);
  document.getElementById("plot-empty").hidden = store.length > 0;
  // A large scan takes long to draw: it gets a quarter of the time, so that buttons stay quick.
  const endedMs = performance.now();
  drawn.notBeforeMs = endedMs + 3 * (endedMs - begunMs);
}

// Which columns are drawn, and how: chosen by the person, or by what the scan moves and reads.
function curve() {
  const scan = page.state?.scan;
  const devices = scan?.devices ?? {};
  const names = [...store.columns.keys()];
  const axisNames = (scan?.axes ?? []).map((axis) => columnOf(axis, names, devices)).filter(Boolean);
  const moved = new Set(scan?.axes ?? []);
  const hints = scan?.hints ?? [];
  const signals = names.filter((name) => !moved.has(devices[name] ?? name));
  const fast = fastestAxis(new Map(axisNames.map((name) => [name, store.column(name)])));
  const xName = page.chosen.x ?? fast ?? axisNames[0] ?? INDEX;
  const yName =
    page.chosen.y ??
    signals.find((name) => hints.includes(name)) ??
    signals.find((name) => name === devices[name]) ??
    signals[0] ??
    names[0] ??
    null;
  selectors.show([...new Set([...axisNames, INDEX, ...names])], [...new Set([...signals, ...names])], xName, yName);
  const xs = xName === INDEX ? store.ids.view() : store.column(xName);
  const ys = yName === null ? new Float64Array(xs.length) : store.column(yName);
  const sweeps = splitSweeps(xs);
  const last = sweeps.at(-1);
  const peak = last ? peakOf(xs.subarray(last.first, last.last + 1), ys.subarray(last.first, last.last + 1)) : null;
  return {
    xs, ys, sweeps, peak, axisNames, xName, yName,
    xLabel: withUnit(xName, scan),
    yLabel: withUnit(yName ?? "", scan),
    isRunning: scan?.status === "open" || scan?.status === "paused",
  };
}

function withUnit(name, scan) {
  const unit = scan?.units?.[name];
  return unit ? `${name} (${unit})` : name;
}

function columnOf(axis, names, devices) {
  if (names.includes(axis)) return axis;
  return names.find((name) => devices[name] === axis) ?? null;
}

function showPeak({ peak, xName, yName, sweeps }) {
  const put = (id, text) => {
    document.getElementById(id).textContent = text;
  };
  put("peak-max", number(peak?.max));
  put("peak-at", number(peak?.at));
  put("peak-centre", number(peak?.centre));
  put("peak-fwhm", number(peak?.fwhm));
  const sweep = sweeps.length > 1 ? `, sweep ${sweeps.length}` : "";
  put("peak-of", peak ? `${yName} against ${xName}${sweep}` : "");
  const words = peak ? `${yName} against ${xName}: ${store.length} points, maximum ${number(peak.max)} at ${number(peak.at)}` : "no points yet";
  document.getElementById("plot").setAttribute("aria-label", `Live plot. ${words}`);
}

function showPoint(index) {
  const shown = drawn.curve;
  if (index === null || !shown) readout.textContent = "";
  else readout.textContent = `${shown.xName} ${number(shown.xs[index])}   ${shown.yName} ${number(shown.ys[index])}   point ${store.ids.values[index]}`;
}

// Ages and the time left go on without messages.
setInterval(wake, 500);

// For people who look with the browser's tools, and for the tests.
window.labspine = { store, page, socket, drawn };
