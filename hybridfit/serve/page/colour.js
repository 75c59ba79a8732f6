// Colours of numbers. magma and viridis are perceptually uniform (matplotlib's, public domain, at 17 points).

const POINTS = {
  magma: "0000040a08221d114736106b51127c6a1c818326819c2e7fb73779d0416fe75263f56b5cfc8961fea772fec488fde2a3fcfdbf",
  viridis: "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725",
  difference: "0530611752902a71b23f8ec06bacd19bc9e0c2ddece0ecf3f7f6f6fbe5d8fbccb4f5aa89e48066d05548ba2832930e2667001f",
};
/** What is not known. */
export const NOTHING = [150, 154, 158];

/** @typedef {Uint8ClampedArray} Colours 256 × (r, g, b) */

/** @param {string} hex @returns {Colours} */
function between(hex) {
  const points = hex.match(/../g)?.map((part) => parseInt(part, 16)) ?? [];
  const last = points.length / 3 - 1;
  const out = new Uint8ClampedArray(3 * 256);
  for (let i = 0; i < 256; i += 1) {
    const at = (i / 255) * last;
    const k = Math.min(last - 1, Math.floor(at));
    for (let c = 0; c < 3; c += 1) out[3 * i + c] = points[3 * k + c] + (at - k) * (points[3 * k + 3 + c] - points[3 * k + c]);
  }
  return out;
}

/** Directions, −180° to 180°: equally light and strong in CIELAB (L 64, radius 36). @returns {Colours} */
function around() {
  const out = new Uint8ClampedArray(3 * 256);
  for (let i = 0; i < 256; i += 1) {
    const phi = (2 * Math.PI * i) / 256 - Math.PI;
    out.set(fromLab(64, 36 * Math.cos(phi), 36 * Math.sin(phi)), 3 * i);
  }
  return out;
}

/** sRGB of a colour of CIELAB (D65). @param {number} l @param {number} a @param {number} b */
function fromLab(l, a, b) {
  const fy = (l + 16) / 116;
  const cube = (/** @type {number} */ t) => (t > 6 / 29 ? t ** 3 : (108 / 841) * (t - 4 / 29));
  const x = 0.95047 * cube(fy + a / 500);
  const y = cube(fy);
  const z = 1.08883 * cube(fy - b / 200);
  const linear = [
    3.2406 * x - 1.5372 * y - 0.4986 * z, -0.9689 * x + 1.8758 * y + 0.0415 * z, 0.0557 * x - 0.204 * y + 1.057 * z,
  ];
  return linear.map((v) => 255 * (v <= 0.0031308 ? 12.92 * Math.max(v, 0) : 1.055 * v ** (1 / 2.4) - 0.055));
}

export const COLOURS = {
  magma: between(POINTS.magma), viridis: between(POINTS.viridis), difference: between(POINTS.difference), azimuth: around(),
};

/** @typedef {{low: number, high: number, colours: Colours, root?: boolean}} Scale */

/** Where a value is between the limits, 0 to 1. @param {number} value @param {Scale} scale */
export function share(value, scale) {
  const t = Math.max(0, Math.min(1, (value - scale.low) / (scale.high - scale.low || 1)));
  return scale.root ? Math.sqrt(t) : t;
}

/** RGB of a hex colour. @param {string} hex */
export const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

/**
 * An offscreen canvas with a pixel for every value; NaN is transparent.
 * @param {ArrayLike<number>} values @param {number} rows @param {number} cols @param {Scale} scale
 */
export function painted(values, rows, cols, scale) {
  return made(rows, cols, (i, data) => {
    const v = values[i];
    if (!Number.isFinite(v)) return;
    const k = 3 * Math.round(255 * share(v, scale));
    data[4 * i] = scale.colours[k];
    data[4 * i + 1] = scale.colours[k + 1];
    data[4 * i + 2] = scale.colours[k + 2];
    data[4 * i + 3] = 255;
  });
}

/**
 * @param {number} rows @param {number} cols
 * @param {(index: number, data: Uint8ClampedArray) => void} paint
 */
export function made(rows, cols, paint) {
  const canvas = document.createElement("canvas");
  canvas.width = cols;
  canvas.height = rows;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(cols, rows);
  for (let i = 0; i < rows * cols; i += 1) paint(i, image.data);
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Draw a bar of a scale into a canvas, low at the left or below. @param {HTMLCanvasElement} canvas @param {Scale} scale @param {boolean} [upright] */
export function drawBar(canvas, scale, upright = false) {
  const n = 256;
  canvas.width = upright ? 1 : n;
  canvas.height = upright ? n : 1;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < n; i += 1) {
    const t = (upright ? n - 1 - i : i) / (n - 1);
    const k = 3 * Math.round(255 * (scale.root ? Math.sqrt(t) : t));
    image.data.set([scale.colours[k], scale.colours[k + 1], scale.colours[k + 2], 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}
