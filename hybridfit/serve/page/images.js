// Experiment, fit and residual side by side: one colour scale for the first two, zero in the middle for the third.

import { floats } from "./api.js";
import { COLOURS, drawBar, painted } from "./colour.js";
import { button, fill, h, unique } from "./dom.js";
import { quantiles, short } from "./format.js";
import { icon } from "./icons.js";
import { Panel, View } from "./panel.js";

/**
 * @param {any} images the answer of /api/fits/ID/images
 * @param {number} semiAngle mrad
 * @returns {HTMLElement}
 */
export function imageTrio(images, semiAngle) {
  const [rows, cols] = images.shape;
  const experiment = floats(images.experiment);
  const fit = floats(images.fit);
  const residual = images.residual ? floats(images.residual) : experiment.map((v, i) => v - fit[i]);
  const mask = images.mask ? Uint8Array.from(atob(images.mask), (c) => c.charCodeAt(0)) : null;
  if (mask?.length === rows * cols) mask.forEach((out, i) => { if (out) residual[i] = NaN; });
  const both = [quantiles(experiment, [0.002, 0.998]), quantiles(fit, [0.002, 0.998])];
  const low = Math.min(...both.map((q) => q[0]).filter(Number.isFinite));
  const high = Math.max(...both.map((q) => q[1]).filter(Number.isFinite));
  const [largest] = quantiles(residual.map(Math.abs), [0.995]);
  /** @type {import("./colour.js").Scale} */
  const intensity = { low: low > 0 && low < 0.3 * high ? 0 : low, high, colours: COLOURS.magma, root: false };
  /** @type {import("./colour.js").Scale} */
  const difference = { low: -largest || -1, high: largest || 1, colours: COLOURS.difference };
  const [left, right, bottom, top] = images.extent ?? [-0.5, cols - 0.5, rows - 0.5, -0.5];
  const step = [(right - left) / cols, (bottom - top) / rows];
  const disc = images.disc ?? null;
  const angleAt = (/** @type {{row: number, col: number}} */ at) => {
    if (!disc) return NaN;
    const x = left + (at.col + 0.5) * step[0] - disc.centre[0];
    const y = top + (at.row + 0.5) * step[1] - disc.centre[1];
    return (Math.hypot(x, y) / disc.radius_px) * semiAngle;
  };

  const view = new View(rows, cols);
  const readout = h("p", { class: "readout", id: unique("readout"), "aria-live": "polite" });
  const idle = "Point at a pixel for its values. Drag to move, double-click or + − 0 to zoom, arrow keys to step.";
  let outline = true;
  /** @param {CanvasRenderingContext2D} c @param {(x: number, y: number) => [number, number]} to @param {number} per */
  const overlay = (c, to, per) => {
    if (!disc || !outline) return;
    const [x, y] = to((disc.centre[0] - left) / step[0], (disc.centre[1] - top) / step[1]);
    const ratio = window.devicePixelRatio || 1;
    for (const [colour, width] of /** @type {[string, number][]} */ ([["rgba(0,0,0,.55)", 3], ["#fff", 1.25]])) {
      c.strokeStyle = colour;
      c.lineWidth = width * ratio;
      c.setLineDash(width > 2 ? [] : [5 * ratio, 4 * ratio]);
      c.beginPath();
      c.arc(x, y, (disc.radius_px / step[0]) * per, 0, 2 * Math.PI);
      c.stroke();
    }
    c.setLineDash([]);
  };
  const kinds = [
    { name: "Experiment", values: experiment, scale: intensity },
    { name: "Fit", values: fit, scale: intensity },
    { name: "Residual", values: residual, scale: difference },
  ];
  const drawn = kinds.map(({ name, values, scale }) => {
    const label = `${name}, ${rows} by ${cols} pixels. Arrow keys step through pixels, plus and minus zoom.`;
    const panel = new Panel(view, label, { overlay, describedBy: readout.id });
    const bar = h("canvas", { class: "bar", "aria-hidden": "true" });
    const ends = h("div", { class: "bar-ends" });
    const paint = () => {
      panel.show(painted(values, rows, cols, scale));
      drawBar(bar, scale);
      const middle = scale === difference ? "0" : short(scale.root ? scale.low + (scale.high - scale.low) / 4 : (scale.low + scale.high) / 2);
      fill(ends, h("span", {}, short(scale.low)), h("span", {}, middle), h("span", {}, scale === difference ? `+${short(scale.high)}` : short(scale.high)));
    };
    paint();
    return { paint, figure: h("figure", { class: "panel" }, h("figcaption", {}, name), panel.canvas, bar, ends) };
  });

  view.addEventListener("cursor", () => {
    const at = view.cursor;
    if (!at) return fill(readout, idle);
    const i = at.row * cols + at.col;
    const angle = angleAt(at);
    const numbers = kinds.map(({ name, values }) => h("span", {}, `${name.toLowerCase()} `, h("b", {}, short(values[i], 4))));
    return fill(
      readout, h("span", {}, `column ${Math.round(left + (at.col + 0.5) * step[0])}, row ${Math.round(top + (at.row + 0.5) * step[1])}`),
      Number.isFinite(angle) && h("span", {}, h("b", {}, short(angle, 3)), " mrad"), numbers,
    );
  });
  fill(readout, idle);

  const disco = h("input", { type: "checkbox", checked: true, on: { change: (/** @type {any} */ e) => { outline = e.target.checked; view.dispatchEvent(new Event("view")); } } });
  const roots = h("input", { type: "checkbox", on: { change: (/** @type {any} */ e) => { intensity.root = e.target.checked; drawn.forEach((d) => d.paint()); } } });
  const tools = h(
    "div", { class: "tools", role: "group", "aria-label": "Show the images" },
    h("label", { class: "check" }, disco, "disc outline"), h("label", { class: "check" }, roots, "bring out weak intensities"),
    h("span", { class: "spring" }),
    button(icon("minus"), () => view.zoomBy(1 / 1.5), { class: "quiet icon-button", "aria-label": "Zoom out" }),
    button(icon("plus"), () => view.zoomBy(1.5), { class: "quiet icon-button", "aria-label": "Zoom in" }),
    button("Whole frame", () => view.reset(), { class: "quiet small" }),
  );
  return h("section", { class: "images", "aria-label": "Experiment, fit and residual" }, tools, h("div", { class: "trio" }, drawn.map((d) => d.figure)), readout);
}
