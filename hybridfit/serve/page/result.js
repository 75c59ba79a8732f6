// One fit: status and remedy first, then numbers, pictures, graphs, errors, candidates, and what can be kept.

import { get } from "./api.js";
import { graph } from "./chart.js";
import { fill, h } from "./dom.js";
import { base, fixed, measured, percent, when } from "./format.js";
import { icon } from "./icons.js";
import { imageTrio } from "./images.js";
import { noteField } from "./note.js";
import { budgetTable, candidateTable, parameterTable } from "./tables.js";
import { statusOf } from "./words.js";

const CURVE_MS = 1500;
const CURVE_TRIES = 4;

/** A status as symbol and word. @param {string} name */
export function badge(name) {
  const status = statusOf(name);
  return h("span", { class: `badge ${status.tone}` }, icon(status.symbol), status.word);
}

/** The message, where it says more than the status. @param {string} message */
const plain = (message) => (message ?? "").replace(/^The fit converged\.\s*/, "");

/** The status with its remedy. @param {any} result @param {"h2"|"h3"} heading */
function statusBox(result, heading) {
  const status = statusOf(result.status);
  return h(
    "div", { class: `status ${status.tone}`, role: "status" },
    h("span", { class: "status-symbol" }, icon(status.symbol)),
    h("div", {}, h(heading, { class: "status-word" }, status.word), h("p", { class: "todo" }, status.todo), h("p", { class: "message" }, plain(result.message) || status.meaning)),
  );
}

/** A large number with its error and interval. @param {string} name @param {any} p @param {string} unit @param {number} digits */
function figure(name, p, unit, digits) {
  const [value, error] = measured(p?.value, p?.stderr, digits);
  const d = error ? Math.min(6, (error.split(".")[1] ?? "").length) : digits;
  const interval = p?.interval95 ? `95 %: ${fixed(p.interval95[0], d)} … ${fixed(p.interval95[1], d)}` : p ? "error not known" : "";
  return h(
    "div", { class: "number" }, h("dt", {}, name),
    h("dd", {}, h("span", { class: "value" }, value), error && h("span", { class: "error" }, ` ± ${error}`), h("span", { class: "unit" }, ` ${unit}`)),
    h("dd", { class: "interval" }, interval),
  );
}

/** @param {any} result */
function numbers(result) {
  const poor = ["poor_match", "failed"].includes(result.status);
  return h(
    "dl", { class: `numbers${poor ? " doubtful" : ""}` },
    figure("Thickness", result.thickness_nm, "nm", 2), figure("Tilt x", result.tilt_x_mrad, "mrad", 2), figure("Tilt y", result.tilt_y_mrad, "mrad", 2),
    h("div", { class: "number" }, h("dt", {}, "Residual"), h("dd", {}, h("span", { class: "value" }, percent(result.residual_fraction))),
      h("dd", { class: "interval" }, `of the variance; misfit ${percent(result.misfit_fraction)}`)),
  );
}

/** Whether there is a curve to draw. @param {any} images */
const hasCurve = (images) => images.chi2_curve?.thickness_nm?.length > 2;

/** @param {any} images @param {any} result @param {boolean} waiting for the curve */
function graphs(images, result, waiting) {
  const out = [];
  const p = images.profiles;
  const rim = result.semi_angle_mrad?.value;
  if (p?.angle_mrad?.length) {
    out.push(graph({
      title: "Radial profiles", xLabel: "scattering angle (mrad)", yLabel: "ring mean", zero: true,
      series: [{ x: p.angle_mrad, y: p.experiment, kind: "points", style: "c-experiment", label: "experiment" }, { x: p.angle_mrad, y: p.fit, kind: "line", style: "c-fit", label: "fit" }],
      marks: rim ? [{ x: rim, label: "rim of the disc", style: "c-rim", dashed: true }] : [],
      says: "Mean intensity of experiment and fit against scattering angle",
    }));
  }
  const c = images.chi2_curve;
  const t = result.thickness_nm;
  if (hasCurve(images)) {
    out.push(graph({
      title: "χ² against thickness", xLabel: "thickness (nm)", yLabel: "χ² / variance", log: true, percent: true,
      series: [{ x: c.thickness_nm, y: c.chi2.map((/** @type {number|null} */ v) => v ?? NaN), kind: "line", style: "c-experiment" }],
      marks: t ? [{ x: t.value, label: "answer", style: "c-answer" }] : [],
      bands: t?.interval95 ? [{ from: t.interval95[0], to: t.interval95[1], style: "c-answer" }] : [],
      says: `Misfit of the library against thickness; the answer is at ${t ? fixed(t.value, 2) : "–"} nm`,
    }));
  }
  else if (waiting) out.push(h("figure", { class: "chart waiting" }, h("figcaption", {}, "χ² against thickness"), h("p", { class: "quiet-text" }, "The whole library is compared …")));
  return out.length ? h("div", { class: "graphs" }, out) : null;
}

/** Images and graphs; the curve of a new fit is ready a little later than its images.
 * @param {HTMLElement} place @param {string} path @param {any} result */
async function loadPictures(place, path, result) {
  try {
    let images = await get(path);
    const below = h("div", {}, graphs(images, result, CURVE_TRIES > 0));
    fill(place, images.experiment && imageTrio(images, result.semi_angle_mrad?.value ?? NaN), below);
    place.removeAttribute("aria-busy");
    for (let k = 0; k < CURVE_TRIES && !hasCurve(images); k += 1) {
      await new Promise((done) => setTimeout(done, CURVE_MS));
      if (!place.isConnected) return;
      images = await get(path);
      if (hasCurve(images) || k === CURVE_TRIES - 1) fill(below, graphs(images, result, false));
    }
  } catch (error) {
    if (place.hasAttribute("aria-busy")) fill(place, h("p", { class: "notice" }, /** @type {Error} */ (error).message));
    place.removeAttribute("aria-busy");
  }
}

/** @param {string} id */
function downloads(id) {
  const at = `/api/fits/${encodeURIComponent(id)}`;
  const kinds = /** @type {[string, string][]} */ ([["result.json", "JSON"], ["row.csv", "CSV"], ["picture.png", "PNG"], ["picture.svg", "SVG"], ["picture.pdf", "PDF"], ["report.html", "HTML report"]]);
  return h("div", { class: "downloads", role: "group", "aria-label": "Downloads" }, kinds.map(([file, name]) => h("a", { class: "button small", href: `${at}/${file}`, download: "" }, icon("down"), name)));
}

/**
 * @param {any} fit the answer of /api/fits/ID
 * @param {{again?: (candidate: any) => void, heading?: "h2"|"h3"}} [options]
 */
export function fitView(fit, options = {}) {
  const result = fit.result ?? fit;
  const heading = options.heading ?? "h2";
  const pictures = h("div", { class: "pictures", "aria-busy": "true" }, h("p", { class: "quiet-text" }, "Loading the pictures …"));
  const about = [result.library, result.semi_angle_mrad && `semi-angle ${measured(result.semi_angle_mrad.value, result.semi_angle_mrad.stderr, 2)[0]} mrad`, result.method, when(fit.time)].filter(Boolean).join(" · ");
  const without = ["unusable", "unreadable"].includes(result.status) || !result.thickness_nm;
  const where = fit.y === undefined || fit.y === null || / position /.test(result.file ?? "") ? "" : `, row ${fit.y}, column ${fit.x}`;
  const root = h(
    "article", { class: "result", "aria-label": `Fit of ${base(result.file ?? fit.file ?? "")}` },
    h("p", { class: "about" }, h("b", { class: "file" }, base(result.file ?? fit.file ?? "") + where), h("span", { class: "quiet-text" }, about), fit.map && location.hash.startsWith("#/fit") && h("a", { href: `#/maps/${encodeURIComponent(fit.map)}/${fit.y},${fit.x}` }, "see it in its map")),
    statusBox(result, heading), !without && numbers(result), pictures,
    !without && h("div", { class: "columns" }, h("section", { class: "card" }, h("h3", {}, "Parameters"), parameterTable(result)), h("div", {}, budgetTable(result), candidateTable(result, options.again))),
    h("footer", { class: "keep card" }, noteField(fit.id, fit.note ?? "", "Note"), downloads(fit.id)),
  );
  if (without) pictures.remove();
  else {
    loadPictures(pictures, `/api/fits/${encodeURIComponent(fit.id)}/images`, result);
  }
  return root;
}

/** Load a fit and show it in an element. @param {Element} place @param {string} id @param {Parameters<typeof fitView>[1]} [options] */
export async function showFit(place, id, options) {
  try {
    fill(place, fitView(await get(`/api/fits/${encodeURIComponent(id)}`), options));
  } catch (error) {
    fill(place, h("p", { class: "notice bad" }, /** @type {Error} */ (error).message));
  }
}

