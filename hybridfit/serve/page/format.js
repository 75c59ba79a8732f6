// Numbers and times as people write them.

const MINUS = "−";

/** @param {number} value @param {number} digits decimals */
export function fixed(value, digits) {
  if (!Number.isFinite(value)) return "–";
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

/** So many significant digits, without an exponent where that is readable. @param {number} value @param {number} [digits] */
export function short(value, digits = 3) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-6) return value.toExponential(Math.max(0, digits - 1)).replace("e+", "e").replace(/-/g, MINUS);
  const decimals = Math.max(0, Math.min(9, digits - 1 - Math.floor(Math.log10(size))));
  return fixed(value, decimals);
}

/** Decimals that show two digits of a standard error. @param {number} stderr */
export const decimals = (stderr) => Math.max(0, Math.min(8, 1 - Math.floor(Math.log10(stderr))));

/**
 * A number and its error: ["42.30", "0.02"]; the error is "" where it is not known.
 * @param {number|null|undefined} value
 * @param {number|null|undefined} stderr
 * @param {number} [digits] decimals where the error is not known
 * @returns {[string, string]}
 */
export function measured(value, stderr, digits = 2) {
  if (value === null || value === undefined || !Number.isFinite(value)) return ["–", ""];
  if (!stderr || !Number.isFinite(stderr)) return [fixed(value, digits), ""];
  const d = decimals(stderr);
  return [fixed(value, d), fixed(stderr, d)];
}

/** @param {number|null|undefined} share */
export const percent = (share) =>
  share === null || share === undefined || !Number.isFinite(share) ? "–" : `${short(100 * share, 2)} %`;

/** Date of a time that the server gave: seconds since 1970, or ISO. @param {number|string|null|undefined} time */
export function dateOf(time) {
  if (time === null || time === undefined || time === "") return null;
  const date = new Date(typeof time === "number" ? 1000 * time : time);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** @param {number|string|null|undefined} time */
export function when(time) {
  const date = dateOf(time);
  if (!date) return "";
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return new Date().toDateString() === date.toDateString() ? clock : `${day} ${clock}`;
}

/** @param {number} bytes */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let k = 0;
  let n = bytes;
  while (n >= 1000 && k < units.length - 1) {
    n /= 1000;
    k += 1;
  }
  return `${k ? short(n, 3) : n} ${units[k]}`;
}

/** The last part of a path. @param {string} path */
export const base = (path) => path.split(/[\\/]/).pop() || path;

/** A number that somebody typed, comma or point; null where there is none. @param {string} text */
export function number(text) {
  const plain = text.trim().replace(",", ".").replace(MINUS, "-");
  if (plain === "") return null;
  const value = Number(plain);
  return Number.isFinite(value) ? value : NaN;
}

/** The value at a share of the sorted finite values. @param {ArrayLike<number>} values @param {number[]} shares */
export function quantiles(values, shares) {
  const known = Array.from(values).filter(Number.isFinite).sort((a, b) => a - b);
  if (!known.length) return shares.map(() => NaN);
  return shares.map((q) => known[Math.round(q * (known.length - 1))]);
}

/** Round steps for an axis: 1, 2 or 5 times a power of ten. @param {number} low @param {number} high @param {number} wanted */
export function ticks(low, high, wanted) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / Math.max(1, wanted);
  const ten = 10 ** Math.floor(Math.log10(raw));
  const step = /** @type {number} */ ([1, 2, 5, 10].find((f) => f * ten >= 0.72 * raw)) * ten;
  const out = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * span; k += 1) out.push(k * step);
  return out;
}

/** Decimals that tell these ticks apart. @param {number[]} values */
export function tickDigits(values) {
  if (values.length < 2) return 1;
  return Math.max(0, Math.min(6, -Math.floor(Math.log10(Math.abs(values[1] - values[0])) + 1e-9)));
}
