// Graphs as SVG: lines and points on two axes, redrawn when the width changes.

import { fill, h, s } from "./dom.js";
import { fixed, short, tickDigits, ticks } from "./format.js";

/**
 * @typedef {{x: number[], y: number[], kind: "line"|"points", style: string, label?: string, errors?: (number|null)[]}} Series
 * @typedef {{title: string, xLabel: string, yLabel: string, height?: number, log?: boolean, percent?: boolean, zero?: boolean,
 *   series: Series[], marks?: {x: number, label: string, style: string, dashed?: boolean}[],
 *   bands?: {from: number, to: number, style: string}[], times?: (x: number) => string,
 *   pick?: (index: number) => void, says?: string}} Chart
 */

const RIGHT = 10;
const TOP = 8;
const BOTTOM = 36;

/** @param {Chart} chart @returns {HTMLElement} */
export function graph(chart) {
  const holder = h("div", { class: "chart-holder" });
  const value = h("span", { class: "chart-value", "aria-live": "off" });
  const named = chart.series.filter((one) => one.label);
  const marks = (chart.marks ?? []).filter((m) => m.label);
  const key = h(
    "div", { class: "legend" },
    named.map((one) => h("span", { class: `key ${one.style}` }, swatch(one.kind, false), one.label)),
    marks.map((m) => h("span", { class: `key ${m.style}` }, swatch("line", m.dashed), m.label)),
  );
  const figure = h("figure", { class: "chart" }, h("figcaption", {}, h("span", {}, chart.title), value), holder, key);
  let last = 0;
  new ResizeObserver(() => {
    const width = Math.floor(holder.clientWidth);
    if (width < 60 || width === last) return;
    last = width;
    fill(holder, draw(chart, width, value));
  }).observe(holder);
  return figure;
}

/** @param {string} kind @param {boolean} [dashed] */
const swatch = (kind, dashed) =>
  s("svg", { width: 18, height: 10, "aria-hidden": "true" },
    kind === "points" ? s("circle", { cx: 9, cy: 5, r: 3, class: "point" }) : s("path", { d: "M1 5h16", class: dashed ? "line dashed" : "line" }));

/** Limits that hold all of these, with some room. @param {number[]} values @param {number} room */
function limits(values, room) {
  const known = values.filter(Number.isFinite);
  if (!known.length) return [0, 1];
  let low = Math.min(...known);
  let high = Math.max(...known);
  if (low === high) [low, high] = [low - (Math.abs(low) * 0.05 || 1), high + (Math.abs(high) * 0.05 || 1)];
  const more = room * (high - low);
  return [low - more, high + more];
}

/** @param {Chart} chart @param {number} width @param {HTMLElement} value */
function draw(chart, width, value) {
  const height = chart.height ?? 210;
  const tall = height - TOP - BOTTOM;
  const up = (/** @type {number} */ v) => (chart.log ? Math.log10(Math.max(v, 1e-9)) : v);
  const [x0, x1] = limits([...chart.series.flatMap((one) => one.x), ...(chart.marks ?? []).map((m) => m.x)], 0.02);
  const ys = chart.series.flatMap((one) => one.y.flatMap((v, i) => {
    const e = one.errors?.[i] ?? 0;
    return [up(v - e), up(v + e)];
  }));
  let [y0, y1] = limits(chart.zero ? [...ys, 0] : ys, 0.06);
  if (chart.zero && y0 < 0 && Math.min(...ys) >= 0) y0 = 0;
  const yTicks = chart.log ? logTicks(y0, y1) : ticks(y0, y1, tall / 42);
  const digits = tickDigits(yTicks);
  const big = !chart.log && Math.max(Math.abs(y0), Math.abs(y1)) >= 1e5;
  const yWords = yTicks.map((t) => (chart.percent ? `${short(100 * t, 2)} %` : chart.log || big ? short(t, 2) : fixed(t, digits)));
  const LEFT = Math.max(44, 26 + 6.6 * Math.max(...yWords.map((words) => words.length)));
  const wide = width - LEFT - RIGHT;
  const X = (/** @type {number} */ v) => LEFT + ((v - x0) / (x1 - x0)) * wide;
  const Y = (/** @type {number} */ v) => TOP + (1 - (up(v) - y0) / (y1 - y0)) * tall;
  const root = s("svg", { class: "graph", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": chart.says ?? chart.title });

  for (const [i, t] of yTicks.entries()) {
    const y = Y(t);
    const words = yWords[i];
    root.append(s("path", { class: "grid", d: `M${LEFT} ${y}H${width - RIGHT}` }), s("text", { class: "tick", x: LEFT - 6, y: y + 3.5, "text-anchor": "end" }, words));
  }
  const xTicks = ticks(x0, x1, wide / (chart.times ? 110 : 60));
  const xDigits = tickDigits(xTicks);
  for (const t of xTicks) {
    root.append(s("path", { class: "axis", d: `M${X(t)} ${height - BOTTOM}v4` }), s("text", { class: "tick", x: X(t), y: height - BOTTOM + 16, "text-anchor": "middle" }, chart.times ? chart.times(t) : fixed(t, xDigits)));
  }
  root.append(
    s("path", { class: "axis", d: `M${LEFT} ${height - BOTTOM}H${width - RIGHT}` }),
    s("text", { class: "axis-label", x: LEFT + wide / 2, y: height - 3, "text-anchor": "middle" }, chart.xLabel),
    s("text", { class: "axis-label", transform: `translate(11 ${TOP + tall / 2}) rotate(-90)`, "text-anchor": "middle" }, chart.yLabel),
  );
  for (const band of chart.bands ?? []) {
    const [a, b] = [X(Math.max(band.from, x0)), X(Math.min(band.to, x1))];
    root.append(s("rect", { class: `band ${band.style}`, x: a, y: TOP, width: Math.max(1, b - a), height: tall }));
  }
  for (const mark of chart.marks ?? []) root.append(s("path", { class: `mark ${mark.style}${mark.dashed ? " dashed" : ""}`, d: `M${X(mark.x)} ${TOP}v${tall}` }));
  for (const one of chart.series) root.append(drawSeries(one, X, Y));

  const cross = s("path", { class: "cross", d: "" });
  root.append(cross);
  const nearest = (/** @type {PointerEvent|MouseEvent} */ e) => {
    const x = e.clientX - root.getBoundingClientRect().left;
    /** @type {{one: Series, i: number, far: number}|null} */
    let best = null;
    for (const one of chart.series) {
      one.x.forEach((v, i) => {
        const far = Math.abs(X(v) - x);
        if (Number.isFinite(one.y[i]) && (!best || far < best.far - 1e-6)) best = { one, i, far };
      });
    }
    return /** @type {{one: Series, i: number, far: number}|null} */ (best);
  };
  root.addEventListener("pointermove", (/** @type {PointerEvent} */ e) => {
    const best = nearest(e);
    if (!best) return;
    const x = best.one.x[best.i];
    cross.setAttribute("d", `M${X(x)} ${TOP}v${tall}`);
    const say = (/** @type {number} */ v) => (chart.percent ? `${short(100 * v, 3)} %` : short(v, 4));
    const at = chart.series.filter((one) => one.x[best.i] === x).map((one) => `${one.label ? `${one.label} ` : ""}${say(one.y[best.i])}`);
    value.textContent = `${chart.times ? chart.times(x) : short(x, 4)}: ${at.join(", ")}`;
  });
  root.addEventListener("pointerleave", () => {
    cross.setAttribute("d", "");
    value.textContent = "";
  });
  if (chart.pick) {
    root.classList.add("pickable");
    root.addEventListener("click", (/** @type {MouseEvent} */ e) => {
      const best = nearest(e);
      if (best) chart.pick?.(best.i);
    });
  }
  return root;
}

/** @param {Series} one @param {(v: number) => number} X @param {(v: number) => number} Y */
function drawSeries(one, X, Y) {
  const group = s("g", { class: `series ${one.style}` });
  if (one.kind === "line") {
    let d = "";
    let pen = "M";
    one.y.forEach((v, i) => {
      if (!Number.isFinite(v)) {
        pen = "M";
        return;
      }
      d += `${pen}${X(one.x[i]).toFixed(1)} ${Y(v).toFixed(1)}`;
      pen = "L";
    });
    group.append(s("path", { class: "line", d }));
    return group;
  }
  one.y.forEach((v, i) => {
    if (!Number.isFinite(v)) return;
    const e = one.errors?.[i];
    if (e) group.append(s("path", { class: "error", d: `M${X(one.x[i])} ${Y(v - e)}V${Y(v + e)}` }));
    group.append(s("circle", { class: "point", cx: X(one.x[i]).toFixed(1), cy: Y(v).toFixed(1), r: 2.8 }));
  });
  return group;
}

/** 1, 2 and 5 times powers of ten between two logarithms. @param {number} low @param {number} high */
function logTicks(low, high) {
  const out = [];
  const factors = high - low > 2.5 ? [1] : high - low > 1.2 ? [1, 3] : [1, 2, 5];
  for (let k = Math.floor(low); k <= high; k += 1) for (const f of factors) if (Math.log10(f) + k >= low && Math.log10(f) + k <= high) out.push(f * 10 ** k);
  return out;
}
