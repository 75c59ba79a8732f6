// Everything about a fit that has a good default: method, hints, parameters, what is taken for granted, raw files.

import { field, h, unique } from "./dom.js";
import { number } from "./format.js";

/** @param {string} words @param {any} [props] */
const entry = (words, props = {}) => h("input", { type: "text", inputmode: "decimal", autocomplete: "off", "aria-label": words, ...props });

/** @param {[string, string][]} choices @param {any} [props] */
const select = (choices, props = {}) => h("select", props, choices.map(([value, words]) => h("option", { value }, words)));

/** A number in a control; a bad one is told. @param {HTMLInputElement} input @param {string} what */
export function typed(input, what) {
  const value = number(input.value);
  const bad = Number.isNaN(value);
  input.setAttribute("aria-invalid", String(bad));
  if (bad) throw Object.assign(new Error(`${what}: “${input.value}” is not a number.`), { input });
  return value;
}

/** A group of options that opens. @param {string} title @param {...any} content */
const group = (title, ...content) => h("details", { class: "group" }, h("summary", {}, title), h("div", { class: "group-body" }, content));

/** Parameters in a compact table: fit, hold, value, bounds. @param {{name: string, label: string, unit: string, held: boolean}[]} parameters */
function parameterRows(parameters) {
  const rows = parameters.map((p) => {
    const how = select([["fit", "fit"], ["hold", "hold"]], { value: p.held ? "hold" : "fit", "aria-label": `${p.label}: fit or hold` });
    const at = entry(`${p.label}: held at`, { placeholder: "as found" });
    const low = entry(`${p.label}: at least`, { placeholder: "min" });
    const high = entry(`${p.label}: at most`, { placeholder: "max" });
    const update = () => {
      const hold = how.value === "hold";
      at.hidden = !hold;
      low.hidden = high.hidden = hold;
    };
    how.addEventListener("change", update);
    update();
    const element = h("tr", {}, h("th", { scope: "row" }, p.label, p.unit && h("span", { class: "unit" }, ` ${p.unit}`)), h("td", {}, how), h("td", { class: "range" }, at, low, high));
    return { p, how, at, low, high, element };
  });
  const table = h("table", { class: "plain controls" }, h("tbody", {}, rows.map((row) => row.element)));
  const read = (/** @type {any} */ options) => {
    for (const { p, how, at, low, high } of rows) {
      const value = typed(at, p.label);
      if (how.value === "hold" && (!p.held || value !== null)) options.fix[p.name] = value;
      if (how.value !== "fit") continue;
      if (p.held) options.free.push(p.name);
      const range = [typed(low, p.label), typed(high, p.label)];
      if (range[0] === null && range[1] === null) continue;
      if (range[0] === null || range[1] === null) throw Object.assign(new Error(`${p.label}: give both bounds.`), { input: range[0] === null ? low : high });
      options.bounds[p.name] = range;
    }
  };
  return { table, read };
}

const SIGMA = /** @type {[string, string, string, string][]} */ ([
  ["debye_waller", "Vibration (Debye–Waller)", "%", "15"], ["energy", "Energy", "%", "0.3"], ["semi_angle", "Semi-angle", "%", "1"],
  ["point_spread", "Point spread of the camera", "%", "10"], ["library", "Library", "nm", "its own"],
]);

/**
 * @param {any} about the answer of /api/about
 * @param {{mask?: HTMLElement, raw: boolean}} parts
 */
export function moreOptions(about, parts) {
  const words = /** @type {Record<string, string>} */ ({
    hybrid: "hybrid: network, then least squares", lsf: "lsf: search the whole library", cnn: "cnn: the network alone",
    radial: "radial", uniform: "uniform", "uniform-per-nm": "uniform per nm", none: "none",
  });
  const list = (/** @type {string[]} */ names) => names.map((name) => /** @type {[string, string]} */ ([name, words[name] ?? name]));
  const method = select(list(about.methods ?? ["hybrid", "lsf", "cnn"]), { value: "hybrid" });
  const background = select(list(about.backgrounds ?? ["radial", "uniform", "uniform-per-nm", "none"]), { value: "radial" });
  const flip = h("input", { type: "checkbox" });
  const gain = entry("counts per electron", { placeholder: "estimated" });
  const hints = {
    thickness: entry("thickness, known within 3 nm"), tiltX: entry("tilt x"), tiltY: entry("tilt y"),
    centreX: entry("column of the centre"), centreY: entry("row of the centre"), scale: entry("scale"), rotation: entry("rotation"),
  };
  for (const input of Object.values(hints)) input.removeAttribute("aria-label");
  hints.tiltY.setAttribute("aria-label", "tilt y");
  hints.centreY.setAttribute("aria-label", "row of the centre");
  const sigma = Object.fromEntries(SIGMA.map(([name, , , usual]) => [name, entry("", { placeholder: usual, "aria-label": null })]));
  const parameters = parameterRows(about.parameters ?? []);
  const types = unique("types");
  const dataset = h("input", { type: "text", placeholder: "group/name" });
  const shape = h("input", { type: "text", placeholder: "256, 256" });
  const dtype = h("input", { type: "text", placeholder: "uint16", list: types });
  const offset = entry("bytes before the data", { placeholder: "0", "aria-label": null });
  const two = (/** @type {string} */ label, /** @type {HTMLElement} */ a, /** @type {HTMLElement} */ b, /** @type {string} */ unit) => {
    const out = field(label, a, { unit });
    a.after(b);
    return out;
  };
  const raw = group(
    "Raw data and data sets", h("p", { class: "help" }, "For HDF5 and netCDF files with several data sets, and for raw files without a header."),
    field("Data set", dataset), field("Shape (rows, columns)", shape), field("Data type", dtype),
    h("datalist", { id: types }, ["uint8", "uint16", "uint32", "int16", "int32", "float32", "float64", ">u2", ">f4"].map((value) => h("option", { value }))), field("Offset", offset, { unit: "bytes" }),
  );
  const root = h(
    "details", { class: "more" }, h("summary", {}, "More options"),
    h("div", { class: "more-body" },
      parts.mask,
      field("Method", method), field("Background", background),
      h("label", { class: "check" }, flip, "the camera mirrors the pattern"),
      group("Hints", h("p", { class: "help" }, "What is roughly known; the fit starts there."),
        h("div", { class: "pairs" }, field("Thickness", hints.thickness, { unit: "nm" }), field("Rotation", hints.rotation, { unit: "°" }), two("Tilt x, y", hints.tiltX, hints.tiltY, "mrad"), two("Centre: column, row", hints.centreX, hints.centreY, "px"), field("Scale", hints.scale, { unit: "px/mrad" }), field("Counts per electron", gain))),
      about.parameters?.length ? group("Parameters: fit, hold, bounds", parameters.table) : null,
      group("How well is known what the fit takes for granted", h("p", { class: "help" }, "Standard deviations; 0 where it is exact."), h("div", { class: "pairs" }, SIGMA.map(([name, label, unit]) => field(label, sigma[name], { unit })))),
      parts.raw ? raw : null),
  );

  /** Read all of it; throws an Error with the control that is wrong. */
  const read = () => {
    const options = /** @type {any} */ ({ method: method.value, background: background.value, fix: {}, free: [], bounds: {}, hints: {}, sigma: {}, ...reading() });
    if (flip.checked) options.flip = true;
    const counts = typed(gain, "Counts per electron");
    if (counts !== null) options.gain = counts;
    parameters.read(options);
    const one = (/** @type {string} */ name, /** @type {any} */ input, /** @type {string} */ label) => {
      const value = typed(input, label);
      if (value !== null) options.hints[name] = value;
    };
    one("thickness", hints.thickness, "Thickness");
    one("scale", hints.scale, "Scale");
    one("rotation", hints.rotation, "Rotation");
    for (const [name, a, b, label] of /** @type {[string, any, any, string][]} */ ([["tilt", hints.tiltX, hints.tiltY, "Tilt"], ["centre", hints.centreX, hints.centreY, "Centre"]])) {
      const values = [typed(a, label), typed(b, label)];
      if (values[0] === null && values[1] === null) continue;
      if (values[0] === null || values[1] === null) throw Object.assign(new Error(`${label}: give both numbers.`), { input: values[0] === null ? a : b });
      options.hints[name] = values;
    }
    for (const [name, label, unit] of SIGMA) {
      const value = typed(sigma[name], label);
      if (value !== null) options.sigma[name] = unit === "%" ? value / 100 : value;
    }
    for (const name of ["fix", "bounds", "hints", "sigma"]) if (!Object.keys(options[name]).length) delete options[name];
    if (!options.free.length) delete options.free;
    return options;
  };
  /** How the file is to be read. */
  const reading = () => {
    const out = /** @type {any} */ ({});
    if (dataset.value.trim()) out.dataset = dataset.value.trim();
    if (dtype.value.trim()) out.dtype = dtype.value.trim();
    const sizes = shape.value.trim() ? shape.value.split(/[\s,×x]+/).filter(Boolean).map(Number) : null;
    if (sizes?.some((/** @type {number} */ n) => !(Number.isInteger(n) && n > 0))) throw Object.assign(new Error(`Shape: “${shape.value}” has no whole numbers; give rows and columns, such as 256, 256.`), { input: shape });
    if (sizes) out.shape = sizes;
    const bytes = typed(offset, "Offset");
    if (bytes) out.offset = bytes;
    return out;
  };
  /** Start the next fit at a candidate. @param {any} c */
  const hint = (c) => {
    hints.thickness.value = String(Number(c.thickness_nm.toFixed(3)));
    hints.tiltX.value = String(Number(c.tilt_x_mrad.toFixed(3)));
    hints.tiltY.value = String(Number(c.tilt_y_mrad.toFixed(3)));
    root.open = true;
    hints.thickness.closest("details").open = true;
  };
  return { root, read, reading, hint, flip: () => { flip.checked = true; }, onReading: (/** @type {() => void} */ act) => [dataset, shape, dtype, offset].forEach((input) => input.addEventListener("change", act)) };
}
