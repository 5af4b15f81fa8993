// Small plots drawn as SVG: metrics over versions, and bars over time. Each says in words what it shows.

import { number, svg } from "/static/dom.js";

const H = 240, LEFT = 46, RIGHT = 14, TOP = 14, BOTTOM = 34;

function ticks(low, high) {
  const raw = (high - low) / 4 || 1, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((one) => one * size).find((one) => one >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + 1e-12; at += step) found.push(at);
  return found;
}

/** Points with their intervals, and a dashed line of what they are held against. `served` is drawn larger. */
export function versionsPlot(rows, { metric, served, width, onchoose }) {
  const W = Math.max(280, width || 640);
  const values = rows.flatMap(({ own, base }) => [own?.low ?? own?.value, own?.high ?? own?.value, base?.value]).filter(Number.isFinite);
  if (!values.length) return null;
  const top = Math.max(...values) * 1.06, bottom = Math.min(0, ...values);
  const x = (i) => (rows.length === 1 ? (LEFT + W - RIGHT) / 2 : LEFT + 14 + (i / (rows.length - 1)) * (W - LEFT - RIGHT - 28));
  const y = (value) => TOP + (1 - (value - bottom) / (top - bottom || 1)) * (H - TOP - BOTTOM);
  const line = (pick, name) => svg("polyline", { class: name, points: rows.map((row, i) => [row, i]).filter(([row]) => Number.isFinite(pick(row))).map(([row, i]) => `${x(i)},${y(pick(row))}`).join(" ") });
  const plot = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "plot", role: "group", "aria-label": `${metric} of each version, the newest on the right, with 95 % intervals; dashed: popularity` });
  for (const at of ticks(bottom, top)) {
    plot.append(svg("line", { class: "rule", x1: LEFT, x2: W - RIGHT, y1: y(at), y2: y(at) }), svg("text", { x: LEFT - 8, y: y(at) + 4, "text-anchor": "end" }, number(at, 2)));
  }
  plot.append(line((row) => row.base?.value, "base"), line((row) => row.own?.value, "own"));
  const every = Math.ceil(rows.length / Math.floor((W - LEFT) / 70));
  rows.forEach((row, i) => {
    if ((rows.length - 1 - i) % every === 0) plot.append(svg("text", { x: x(i), y: H - 12, "text-anchor": "middle" }, row.version));
    if (!Number.isFinite(row.own?.value)) return;
    const said = `${row.version}: ${metric} ${number(row.own.value, 3)}${row.version === served ? ", served" : ""}`;
    const point = svg("g", { class: `point ${row.status}${row.version === served ? " served" : ""}`, tabindex: 0, role: "button", "aria-label": said },
      svg("title", {}, said), svg("circle", { class: "reach", cx: x(i), cy: y(row.own.value), r: 14 }));
    if (Number.isFinite(row.own.low)) point.append(svg("line", { class: "whisker", x1: x(i), x2: x(i), y1: y(row.own.low), y2: y(row.own.high) }));
    point.append(svg("circle", { class: "dot", cx: x(i), cy: y(row.own.value), r: row.version === served ? 7 : 4.5 }));
    point.addEventListener("click", () => onchoose(row.version));
    point.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); onchoose(row.version); } });
    plot.append(point);
  });
  return plot;
}

/** Bars, oldest on the left. */
export function bars(values, label, { marked = [], height = 64 } = {}) {
  const width = 320, most = Math.max(1, ...values), step = width / Math.max(values.length, 12);
  const plot = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "bars", role: "img", "aria-label": label, preserveAspectRatio: "none" });
  values.forEach((value, i) => {
    const tall = value ? Math.max(2, (value / most) * (height - 4)) : 1;
    plot.append(svg("rect", { x: width - (values.length - i) * step + 0.75, y: height - tall, width: Math.max(1, step - 1.5), height: tall, class: marked[i] ? "bad" : value ? "" : "none" }));
  });
  return plot;
}
