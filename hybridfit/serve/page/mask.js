// A mask drawn on a frame: brush, rectangle, eraser. White pixels of the PNG are left out of the fit.

import { COLOURS, made, rgb } from "./colour.js";
import { button, fill, h, unique } from "./dom.js";
import { Panel, View } from "./panel.js";

const SHADE = rgb("#2fd6e8");
const STEPS = 30;

/** @typedef {"brush"|"rectangle"|"erase"} Tool */

/** Pixels of a mask along its longer side at most: those of large frames are masked in squares. */
const LARGEST = 768;

/** Which pixels of frames are left out. */
export class Mask extends EventTarget {
  /** @param {number} frameRows @param {number} frameCols */
  constructor(frameRows, frameCols) {
    super();
    this.frameRows = frameRows;
    this.frameCols = frameCols;
    this.square = Math.max(1, Math.ceil(Math.max(frameRows, frameCols) / LARGEST));
    this.rows = Math.ceil(frameRows / this.square);
    this.cols = Math.ceil(frameCols / this.square);
    /** @type {Uint8Array} */
    this.pixels = new Uint8Array(this.rows * this.cols);
    /** @type {Uint8Array[]} */
    this.before = [];
  }

  /** Share of the frame that is left out. */
  get share() {
    return this.pixels.reduce((sum, v) => sum + v, 0) / this.pixels.length;
  }

  keep() {
    this.before.push(this.pixels.slice());
    if (this.before.length > STEPS) this.before.shift();
  }

  undo() {
    const last = this.before.pop();
    if (last) this.pixels = last;
    this.changed();
  }

  clear() {
    this.keep();
    this.pixels.fill(0);
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  /** A disc along a line. @param {number} x0 @param {number} y0 @param {number} x1 @param {number} y1 @param {number} radius @param {0|1} value */
  stroke(x0, y0, x1, y1, radius, value) {
    const n = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(1, radius / 2)));
    for (let k = 0; k <= n; k += 1) {
      const x = x0 + ((x1 - x0) * k) / n;
      const y = y0 + ((y1 - y0) * k) / n;
      for (let row = Math.max(0, Math.floor(y - radius)); row <= Math.min(this.rows - 1, Math.ceil(y + radius)); row += 1) {
        for (let col = Math.max(0, Math.floor(x - radius)); col <= Math.min(this.cols - 1, Math.ceil(x + radius)); col += 1) {
          if (Math.hypot(col + 0.5 - x, row + 0.5 - y) <= Math.max(radius, 0.75)) this.pixels[row * this.cols + col] = value;
        }
      }
    }
  }

  /** @param {number} x0 @param {number} y0 @param {number} x1 @param {number} y1 corners @param {0|1} value */
  rectangle(x0, y0, x1, y1, value) {
    const [left, right] = [Math.min(x0, x1), Math.max(x0, x1)].map(Math.floor);
    const [top, bottom] = [Math.min(y0, y1), Math.max(y0, y1)].map(Math.floor);
    for (let row = Math.max(0, top); row <= Math.min(this.rows - 1, bottom); row += 1) {
      this.pixels.fill(value, row * this.cols + Math.max(0, left), row * this.cols + Math.min(this.cols - 1, right) + 1);
    }
  }

  /** The mask as an image in the colour of masks. */
  shade() {
    return made(this.rows, this.cols, (i, data) => {
      if (this.pixels[i]) data.set([...SHADE, 185], 4 * i);
    });
  }

  /** @returns {Promise<Blob|null>} white: left out */
  png() {
    const small = made(this.rows, this.cols, (i, data) => {
      const v = this.pixels[i] ? 255 : 0;
      data.set([v, v, v, 255], 4 * i);
    });
    const canvas = h("canvas", { width: this.frameCols, height: this.frameRows });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, this.cols * this.square, this.rows * this.square);
    return new Promise((give) => canvas.toBlob(give, "image/png"));
  }
}

/** A grey picture in the colours of intensities; others as they are. @param {ImageBitmap} bitmap @returns {HTMLCanvasElement} */
export function shaded(bitmap) {
  const canvas = h("canvas", { width: bitmap.width, height: bitmap.height });
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  const { data } = image;
  for (let i = 0; i < data.length; i += 4) if (data[i] !== data[i + 1] || data[i] !== data[i + 2]) return canvas;
  for (let i = 0; i < data.length; i += 4) for (let c = 0, k = 3 * data[i]; c < 3; c += 1) data[i + c] = COLOURS.magma[k + c];
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The frame with its mask, in a canvas of the mask's size. @param {HTMLCanvasElement} bitmap @param {Mask} mask */
export function framed(bitmap, mask) {
  const canvas = h("canvas", { width: mask.cols, height: mask.rows });
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, mask.frameCols / mask.square, mask.frameRows / mask.square);
  if (mask.pixels.some((v) => v)) context.drawImage(mask.shade(), 0, 0);
  return canvas;
}

/**
 * Draw in a window of its own.
 * @param {HTMLCanvasElement} bitmap @param {Mask} mask
 */
export function editMask(bitmap, mask) {
  const { rows, cols } = mask;
  const view = new View(rows, cols);
  /** @type {Tool} */
  let tool = "brush";
  let radius = Math.max(1, Math.round(Math.max(rows, cols) / 40));
  /** @type {{x: number, y: number}|null} */
  let from = null;
  /** @type {{x: number, y: number}|null} */
  let corner = null;
  const help = h("p", { class: "help", id: unique("mask-help") }, "Paint over what the fit shall leave out: a beam stop, dead pixels, a neighbouring grain. By keyboard: arrow keys move, space paints; for a rectangle, space marks both corners.");
  const panel = new Panel(view, "The frame, to paint on", { describedBy: help.id, keepCursor: true });
  const state = h("span", { class: "quiet-text", role: "status" });
  const show = () => {
    panel.show(framed(bitmap, mask));
    fill(state, mask.share ? `${(100 * mask.share).toFixed(1)} % of the frame left out` : "Nothing is left out.");
    mask.changed();
  };
  const value = () => /** @type {0|1} */ (tool === "erase" ? 0 : 1);
  const { canvas } = panel;
  canvas.classList.add("drawing");
  canvas.style.touchAction = "none";
  canvas.addEventListener("pointerdown", (/** @type {PointerEvent} */ e) => {
    e.stopImmediatePropagation();
    canvas.focus();
    canvas.setPointerCapture(e.pointerId);
    mask.keep();
    from = panel.at(e);
    if (tool !== "rectangle") mask.stroke(from.x, from.y, from.x, from.y, radius, value());
    show();
  }, { capture: true });
  canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ e) => {
    if (!from) return;
    const to = panel.at(e);
    if (tool === "rectangle") {
      mask.pixels = mask.before[mask.before.length - 1].slice();
      mask.rectangle(from.x, from.y, to.x, to.y, 1);
    } else {
      mask.stroke(from.x, from.y, to.x, to.y, radius, value());
      from = to;
    }
    show();
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (from = null));
  canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
    if (e.key !== " ") return;
    e.preventDefault();
    const at = view.cursor ?? { row: Math.floor(rows / 2), col: Math.floor(cols / 2) };
    view.point(at);
    const here = { x: at.col + 0.5, y: at.row + 0.5 };
    if (tool === "rectangle" && !corner) {
      corner = here;
      fill(state, `First corner: column ${at.col}, row ${at.row}. Move to the other, and press space.`);
      return;
    }
    mask.keep();
    if (tool === "rectangle" && corner) mask.rectangle(corner.x, corner.y, here.x, here.y, 1);
    else mask.stroke(here.x, here.y, here.x, here.y, radius, value());
    corner = null;
    show();
  });

  const group = unique("tool");
  const choose = (/** @type {Tool} */ name, /** @type {string} */ words) =>
    h("label", { class: "segment" }, h("input", { type: "radio", name: group, value: name, checked: name === tool, on: { change: () => { tool = name; corner = null; } } }), h("span", {}, words));
  const width = h("input", { type: "range", min: 1, max: Math.max(4, Math.round(Math.max(rows, cols) / 8)), value: radius, on: { input: () => (radius = Number(width.value)) } });
  const dialog = h(
    "dialog", { class: "mask-dialog", "aria-label": "Draw a mask" },
    h("div", { class: "tools" },
      h("div", { class: "segments", role: "radiogroup", "aria-label": "Tool" }, choose("brush", "Brush"), choose("rectangle", "Rectangle"), choose("erase", "Erase")),
      h("label", { class: "check" }, "size", width), h("span", { class: "spring" }),
      button("Undo", () => { mask.undo(); show(); }, { class: "small" }), button("Clear", () => { mask.clear(); show(); }, { class: "small" })),
    canvas, help,
    h("div", { class: "tools" }, state, h("span", { class: "spring" }), button("Done", () => dialog.close(), { class: "primary" })),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  show();
  canvas.focus();
  return dialog;
}
