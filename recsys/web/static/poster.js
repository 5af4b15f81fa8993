// Draws a poster from a title and its genres, so that a page looks good without a single picture from elsewhere.
// The genre chooses colours and motif, the title everything that varies: the same film always looks the same.

import { h, svg } from "/static/dom.js";

const LOOKS = {
  action: [14, "rays"], adventure: [34, "peaks"], animation: [190, "bubbles"], children: [48, "bubbles"],
  "children's": [48, "bubbles"], comedy: [42, "sun"], crime: [350, "blinds"], documentary: [160, "frames"],
  drama: [220, "discs"], fantasy: [275, "moon"], "film-noir": [230, "blinds"], horror: [355, "teeth"], imax: [200, "frames"],
  musical: [312, "waves"], mystery: [255, "frames"], romance: [335, "discs"], "sci-fi": [205, "planet"],
  thriller: [178, "rays"], war: [85, "chevrons"], western: [24, "sun"], family: [100, "bubbles"],
};
/** What says most of a film first: nearly everything is a drama. */
const TELLING = ["western", "film-noir", "musical", "horror", "sci-fi", "war", "documentary", "animation", "fantasy", "mystery", "romance",
  "crime", "children", "children's", "family", "adventure", "thriller", "comedy", "action", "imax", "drama"];
const FACES = ["serif", "grotesk", "wide", "slab"];

function random(seed) {
  let state = 2166136261;
  for (const letter of seed) state = Math.imul(state ^ letter.codePointAt(0), 16777619) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const colour = (hue, saturation, light, alpha = 1) => `hsl(${Math.round(hue)} ${saturation}% ${light}% / ${alpha})`;
const polygon = (points, fill) => svg("polygon", { points: points.map((pair) => pair.map(Math.round).join(",")).join(" "), fill });
const circle = (cx, cy, r, fill, more = {}) => svg("circle", { cx, cy, r, fill, ...more });

const MOTIFS = {
  rays(dice, hue) {
    const x = 40 + dice() * 120, y = 60 + dice() * 80, n = 9 + Math.floor(dice() * 6), turn = dice();
    return Array.from({ length: n }, (_, i) => {
      const [a, b] = [((i + turn) / n) * 6.283, ((i + turn + 0.45) / n) * 6.283];
      return polygon([[x, y], [x + 400 * Math.cos(a), y + 400 * Math.sin(a)], [x + 400 * Math.cos(b), y + 400 * Math.sin(b)]], colour(hue + 18, 80, 58, 0.35));
    });
  },
  peaks(dice, hue) {
    return [circle(50 + dice() * 100, 60 + dice() * 30, 24, colour(hue + 12, 90, 78, 0.9)), ...[0, 1, 2].map((layer) => {
      const points = [[0, 300]];
      for (let x = 0; x <= 200; x += 25) points.push([x, 120 + layer * 38 - dice() * 55]);
      return polygon([...points, [200, 300]], colour(hue - layer * 12, 45, 42 - layer * 11, 0.85));
    })];
  },
  bubbles(dice, hue) {
    return Array.from({ length: 11 }, () => circle(dice() * 200, dice() * 210, 10 + dice() * 34, colour(hue + dice() * 110 - 40, 85, 66, 0.5)));
  },
  sun(dice, hue) {
    const y = 90 + dice() * 40, bars = [0, 1, 2, 3, 4].map((i) => svg("rect", { x: 0, y: y + 8 + i * 16, width: 200, height: 3 + i * 2, fill: colour(hue - 14, 65, 34, 0.9) }));
    return [circle(100, y, 62 + dice() * 12, colour(hue + 8, 95, 68, 0.92)), ...bars];
  },
  blinds(dice, hue) {
    const tilt = 30 + dice() * 50;
    return Array.from({ length: 9 }, (_, i) => polygon([[-20, i * 32], [220, i * 32 - tilt], [220, i * 32 + 13 - tilt], [-20, i * 32 + 13]], colour(hue + 40, 25, 78, 0.2 + 0.05 * (i % 3))))
      .concat(polygon([[120 + dice() * 40, 0], [40, 300], [-60, 300]], colour(hue, 50, 5, 0.35)));
  },
  frames(dice, hue) {
    const turn = dice() * 40 - 20;
    return Array.from({ length: 6 }, (_, i) => svg("rect", {
      x: 30 + i * 12, y: 25 + i * 15, width: 140 - i * 24, height: 190 - i * 30, fill: "none",
      stroke: colour(hue + i * 14, 65, 72 - i * 4, 0.75), "stroke-width": 2.5, transform: `rotate(${turn * (i / 6)} 100 120)`,
    }));
  },
  discs(dice, hue) {
    const y = 85 + dice() * 40, gap = 26 + dice() * 22, r = 46 + dice() * 14;
    return [circle(100 - gap, y, r, colour(hue, 75, 62, 0.75)), circle(100 + gap, y + dice() * 30 - 15, r, colour(hue + 45, 80, 66, 0.6)), svg("rect", { x: 0, y: y + r * 0.7, width: 200, height: 2, fill: colour(hue, 30, 88, 0.6) })];
  },
  moon(dice, hue) {
    const stars = Array.from({ length: 26 }, () => circle(dice() * 200, dice() * 190, 0.7 + dice() * 1.5, colour(hue + 40, 60, 90, 0.9)));
    const x = 60 + dice() * 80;
    return [...stars, circle(x, 95, 44, colour(hue + 30, 70, 86, 0.92)), circle(x + 20, 84, 40, colour(hue, 50, 26))];
  },
  teeth(dice, hue) {
    const row = (y, way) => {
      const points = [[0, y - way * 200]];
      for (let x = 0, i = 0; x <= 200; x += 20, i++) points.push([x, i % 2 ? y + way * (28 + dice() * 46) : y]);
      return polygon([...points, [200, y - way * 200]], colour(hue, 45, 7, 0.92));
    };
    return [circle(100, 125, 58, colour(hue, 85, 48, 0.75)), row(62, 1), row(196, -1)];
  },
  waves(dice, hue) {
    return Array.from({ length: 7 }, (_, i) => {
      const bend = 25 + dice() * 45, y = 45 + i * 25;
      return svg("path", { d: `M-10 ${y} C 50 ${y - bend} 120 ${y + bend} 210 ${y - 10}`, fill: "none", stroke: colour(hue + i * 13, 85, 72, 0.75), "stroke-width": 3.2 });
    });
  },
  planet(dice, hue) {
    const x = 70 + dice() * 60, y = 90 + dice() * 30, r = 36 + dice() * 18;
    const grid = Array.from({ length: 9 }, (_, i) => svg("line", { x1: 100, y1: 190, x2: (i - 4) * 70 + 100, y2: 300, stroke: colour(hue + 90, 80, 70, 0.5), "stroke-width": 1.2 }));
    return [...Array.from({ length: 20 }, () => circle(dice() * 200, dice() * 180, 0.6 + dice(), "#fff")), ...grid,
      circle(x, y, r, colour(hue + 20, 70, 60, 0.95)), svg("ellipse", { cx: x, cy: y, rx: r * 1.75, ry: r * 0.35, fill: "none", stroke: colour(hue + 70, 85, 78, 0.9), "stroke-width": 3, transform: `rotate(${dice() * 40 - 20} ${x} ${y})` })];
  },
  chevrons(dice, hue) {
    const lift = dice() * 30;
    return Array.from({ length: 5 }, (_, i) => polygon([[20, 60 + i * 34 - lift], [100, 20 + i * 34 - lift], [180, 60 + i * 34 - lift], [180, 76 + i * 34 - lift], [100, 36 + i * 34 - lift], [20, 76 + i * 34 - lift]], colour(hue + i * 8, 38, 62 - i * 5, 0.75)));
  },
};

/** A drawing for a film; a real poster is laid over it if the service knows where there are some. */
export function poster(film) {
  const rank = (name) => (TELLING.indexOf(name.toLowerCase()) + TELLING.length) % TELLING.length;
  const [first = "drama", second] = [...(film.genres ?? [])].sort((a, b) => rank(a) - rank(b));
  const [hue, motif] = LOOKS[first.toLowerCase()] ?? [Math.round(random(first)() * 360), "discs"];
  const [other] = LOOKS[(second ?? first).toLowerCase()] ?? [hue + 30];
  const dice = random(`${film.title}${film.year ?? ""}`);
  const shift = dice() * 22 - 11, id = `g${Math.floor(dice() * 1e9)}`;
  const gradient = svg("linearGradient", { id, x1: 0, y1: 0, x2: dice() > 0.5 ? 1 : 0, y2: 1 },
    svg("stop", { offset: 0, "stop-color": colour(hue + shift, 58, 34) }), svg("stop", { offset: 1, "stop-color": colour(other + shift, 62, 15) }));
  const drawing = svg("svg", { viewBox: "0 0 200 300", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true", focusable: "false" },
    svg("defs", {}, gradient), svg("rect", { width: 200, height: 300, fill: `url(#${id})` }), ...MOTIFS[motif](dice, hue + shift));
  const size = film.title.length > 42 ? "long" : film.title.length > 20 ? "middling" : "short";
  const made = h("div", { class: `poster ${FACES[Math.floor(dice() * FACES.length)]} ${size}` }, drawing,
    h("div", { class: "credits" }, h("span", { class: "name" }, film.title), h("span", { class: "line" }, [film.year, (film.genres ?? []).length ? first : null].filter(Boolean).join(" · "))));
  // so that the longest word fits the width: each face makes of it what its letters take
  made.style.setProperty("--fit", (84 / Math.max(...film.title.split(/[\s-]+/).map((word) => word.length))).toFixed(2));
  if (document.body.dataset.posters === "on") {
    const image = h("img", { src: `/posters/${encodeURIComponent(film.item_id)}`, alt: "", loading: "lazy", decoding: "async", referrerPolicy: "no-referrer" });
    image.addEventListener("error", () => image.remove());
    made.append(image);
  }
  return made;
}
