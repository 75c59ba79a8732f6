// An image on a canvas that is zoomed and moved by pointer, touch and keys, alone or together with others.

import { h } from "./dom.js";

/**
 * What panels share: the part that is seen (centre and zoom) and the pixel under the pointer.
 */
export class View extends EventTarget {
  /** @param {number} rows @param {number} cols */
  constructor(rows, cols) {
    super();
    this.rows = rows;
    this.cols = cols;
    this.zoom = 1;
    this.x = cols / 2;
    this.y = rows / 2;
    /** @type {{row: number, col: number}|null} */
    this.cursor = null;
  }

  /** Zoom about a point of the image. @param {number} factor @param {number} [x] @param {number} [y] */
  zoomBy(factor, x = this.x, y = this.y) {
    const zoom = Math.max(1, Math.min(Math.max(this.rows, this.cols) / 4, this.zoom * factor));
    const real = zoom / this.zoom;
    this.zoom = zoom;
    this.move(x + (this.x - x) / real, y + (this.y - y) / real);
  }

  /** @param {number} x @param {number} y the new centre */
  move(x, y) {
    const half = 0.5 / this.zoom;
    const within = (/** @type {number} */ v, /** @type {number} */ n) => Math.max(half * n, Math.min((1 - half) * n, v));
    this.x = within(x, this.cols);
    this.y = within(y, this.rows);
    this.dispatchEvent(new Event("view"));
  }

  reset() {
    this.zoom = 1;
    this.move(this.cols / 2, this.rows / 2);
  }

  /** @param {{row: number, col: number}|null} at */
  point(at) {
    if (at) at = { row: Math.max(0, Math.min(this.rows - 1, at.row)), col: Math.max(0, Math.min(this.cols - 1, at.col)) };
    this.cursor = at;
    this.dispatchEvent(new Event("cursor"));
  }
}

/** A canvas that shows an image through a View. */
export class Panel {
  /**
   * @param {View} view
   * @param {string} label for people who cannot see it
   * @param {{overlay?: (c: CanvasRenderingContext2D, toCanvas: (x: number, y: number) => [number, number], perPixel: number) => void,
   *          pick?: (at: {row: number, col: number}) => void, keepCursor?: boolean, describedBy?: string}} [options]
   */
  constructor(view, label, options = {}) {
    this.view = view;
    this.options = options;
    /** @type {HTMLCanvasElement|null} */
    this.image = null;
    this.canvas = h("canvas", {
      class: "panel-canvas", tabindex: 0, role: "application", "aria-label": label, "aria-roledescription": "image",
      "aria-describedby": options.describedBy,
    });
    this.canvas.style.aspectRatio = `${view.cols} / ${view.rows}`;
    this.pointers = new Map();
    this.moved = 0;
    this.waiting = false;
    for (const name of ["view", "cursor"]) view.addEventListener(name, () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    this.#listen();
  }

  /** @param {HTMLCanvasElement|null} image */
  show(image) {
    this.image = image;
    this.draw();
  }

  /** Draw at the next frame of the screen. */
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#paint();
    });
  }

  #paint() {
    const { view, canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const c = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    c.clearRect(0, 0, width, height);
    const px = (width / view.cols) * view.zoom;
    const py = (height / view.rows) * view.zoom;
    const toCanvas = (/** @type {number} */ x, /** @type {number} */ y) =>
      /** @type {[number, number]} */ ([(x - view.x) * px + width / 2, (y - view.y) * py + height / 2]);
    if (this.image) {
      const [left, top] = toCanvas(0, 0);
      c.imageSmoothingEnabled = false;
      c.drawImage(this.image, left, top, view.cols * px, view.rows * py);
    }
    this.options.overlay?.(c, toCanvas, px);
    if (view.cursor) {
      const { row, col } = view.cursor;
      const [x, y] = toCanvas(col, row);
      const [w, t] = [Math.max(px, 3), Math.max(py, 3)];
      c.lineWidth = ratio;
      c.strokeStyle = "#000";
      c.strokeRect(x - 1.5 * ratio, y - 1.5 * ratio, w + 3 * ratio, t + 3 * ratio);
      c.strokeStyle = "#fff";
      c.strokeRect(x - 0.5 * ratio, y - 0.5 * ratio, w + ratio, t + ratio);
    }
  }

  /** The pixel under a pointer. @param {{clientX: number, clientY: number}} event */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const { view } = this;
    const x = view.x + ((event.clientX - box.left) / box.width - 0.5) * (view.cols / view.zoom);
    const y = view.y + ((event.clientY - box.top) / box.height - 0.5) * (view.rows / view.zoom);
    return { x, y, row: Math.floor(y), col: Math.floor(x) };
  }

  #listen() {
    const { canvas, view } = this;
    canvas.addEventListener("pointerdown", (/** @type {PointerEvent} */ e) => {
      this.pointers.set(e.pointerId, e);
      this.moved = 0;
      if (view.zoom > 1) canvas.setPointerCapture(e.pointerId);
    });
    canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ e) => this.#moved(e));
    const up = (/** @type {PointerEvent} */ e) => {
      if (this.pointers.delete(e.pointerId) && e.type === "pointerup" && this.moved < 5) this.#picked(this.at(e));
    };
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, up);
    canvas.addEventListener("pointerleave", (/** @type {PointerEvent} */ e) => {
      this.pointers.delete(e.pointerId);
      if (!this.options.keepCursor && document.activeElement !== canvas) view.point(null);
    });
    canvas.addEventListener("wheel", (/** @type {WheelEvent} */ e) => {
      if (!e.ctrlKey && document.activeElement !== canvas) return;
      if (e.deltaY > 0 && view.zoom === 1) return;
      e.preventDefault();
      const { x, y } = this.at(e);
      view.zoomBy(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.002)), x, y);
    }, { passive: false });
    canvas.addEventListener("dblclick", (/** @type {MouseEvent} */ e) => {
      const { x, y } = this.at(e);
      if (view.zoom > 1) view.reset();
      else view.zoomBy(3, x, y);
    });
    canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => this.#key(e));
    canvas.addEventListener("blur", () => !this.options.keepCursor && view.point(null));
    view.addEventListener("view", () => (canvas.style.touchAction = view.zoom > 1 ? "none" : "pan-y"));
    canvas.style.touchAction = "pan-y";
  }

  /** @param {PointerEvent} e */
  #moved(e) {
    const { view, pointers, canvas } = this;
    const before = pointers.get(e.pointerId);
    if (before) {
      this.moved += Math.hypot(e.clientX - before.clientX, e.clientY - before.clientY);
      const others = [...pointers.values()].filter((p) => p.pointerId !== e.pointerId);
      pointers.set(e.pointerId, e);
      if (others.length) {
        const [o] = others;
        const far = (/** @type {PointerEvent} */ p) => Math.hypot(p.clientX - o.clientX, p.clientY - o.clientY) || 1;
        view.zoomBy(far(e) / far(before));
      } else if (view.zoom > 1) {
        const per = view.cols / view.zoom / canvas.clientWidth;
        view.move(view.x - (e.clientX - before.clientX) * per, view.y - (e.clientY - before.clientY) * per);
      }
    }
    if (!this.options.keepCursor) view.point(this.at(e));
    this.onhover?.(this.at(e));
  }

  /** @type {((at: {row: number, col: number}) => void)|undefined} */
  onhover = undefined;

  /** @param {{row: number, col: number}} at */
  #picked(at) {
    this.view.point(at);
    if (this.view.cursor) this.options.pick?.(this.view.cursor);
  }

  /** @param {KeyboardEvent} e */
  #key(e) {
    const { view } = this;
    const step = e.shiftKey ? 10 : 1;
    const moves = /** @type {Record<string, [number, number]>} */ ({
      ArrowLeft: [0, -step], ArrowRight: [0, step], ArrowUp: [-step, 0], ArrowDown: [step, 0],
    });
    if (e.key in moves && !e.ctrlKey && !e.altKey && !e.metaKey) {
      const at = view.cursor ?? { row: Math.floor(view.y), col: Math.floor(view.x) };
      const [down, right] = moves[e.key];
      view.point({ row: at.row + down, col: at.col + right });
      if (view.cursor) this.onhover?.(view.cursor);
    } else if (e.key === "+" || e.key === "=") view.zoomBy(1.5, ...this.#middle());
    else if (e.key === "-") view.zoomBy(1 / 1.5, ...this.#middle());
    else if (e.key === "0") view.reset();
    else if (e.key === "Enter" && view.cursor) this.options.pick?.(view.cursor);
    else return;
    e.preventDefault();
  }

  /** @returns {[number, number]} */
  #middle() {
    const { cursor, x, y } = this.view;
    return cursor ? [cursor.col + 0.5, cursor.row + 0.5] : [x, y];
  }
}
