// Tables of one answer: parameters, what their errors contain, and the minima that were compared.

import { button, h } from "./dom.js";
import { decimals, fixed, measured, percent, short } from "./format.js";
import { ASSUMED, PARAMETERS, PARTS, readable } from "./words.js";

/** @param {any} result */
export function parameterTable(result) {
  const known = PARAMETERS.filter(([key]) => result[key] && typeof result[key] === "object");
  const rows = known.map(([key, words, unit, digits]) => row(words, result[key], unit, digits));
  for (const [name, p] of Object.entries(result.structure ?? {})) rows.push(row(readable(name), p, p.unit ?? "", 3));
  return h(
    "table", { class: "plain" },
    h("thead", {}, h("tr", {}, ["Parameter", "Value", "95 % interval"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows),
  );
}

/** @param {string} words @param {any} p @param {string} unit @param {number} digits */
function row(words, p, unit, digits) {
  const [value, error] = measured(p.value, p.stderr, digits);
  const d = error ? (error.split(".")[1] ?? "").length : digits;
  let range = p.interval95 ? `${fixed(p.interval95[0], d)} … ${fixed(p.interval95[1], d)}` : "no error";
  if (p.odds) range = Object.entries(p.odds).map(([at, odds]) => `${at}: ${percent(odds)}`).join(", ");
  return h("tr", {}, h("th", { scope: "row" }, words), h("td", { class: "num" }, value, error && h("span", { class: "error" }, ` ± ${error}`), unit && h("span", { class: "unit" }, ` ${unit}`)), h("td", { class: "num quiet-text" }, range));
}

/** What the standard errors contain; bars show shares of the variance. @param {any} result */
export function budgetTable(result) {
  const budget = result.budget ?? {};
  const keys = ["thickness_nm", "tilt_x_mrad", "tilt_y_mrad"].filter((key) => budget[key]);
  if (!keys.length) return null;
  const parts = Object.keys(PARTS).filter((part) => keys.some((key) => budget[key][part]));
  const name = (/** @type {string} */ key) => PARAMETERS.find(([k]) => k === key) ?? [key, key, "", 2];
  const total = Object.fromEntries(keys.map((key) => [key, Math.hypot(.../** @type {number[]} */ (Object.values(budget[key])))]));
  const told = Object.entries(result.assumed ?? {}).filter(([, a]) => a.stderr < 0.5 * a.sigma);
  return h(
    "section", { class: "card" }, h("h3", {}, "What the errors contain"),
    h("table", { class: "plain budget" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Standard error"), keys.map((key) => h("th", { scope: "col", class: "num" }, name(key)[1], h("span", { class: "unit" }, ` ${name(key)[2]}`))))),
      h("tbody", {},
        parts.map((part) => h("tr", {}, h("th", { scope: "row" }, PARTS[part]), keys.map((key) => cell(budget[key][part] ?? 0, total[key])))),
        h("tr", { class: "total" }, h("th", { scope: "row" }, "together"), keys.map((key) => h("td", { class: "num" }, short(total[key], 2)))))),
    result.budget_lacks?.length ? h("p", { class: "help" }, `Not in the errors: ${result.budget_lacks.map((/** @type {string} */ part) => PARTS[part] ?? part).join(", ")}.`) : null,
    told.length > 0 && h("p", { class: "help" }, "The pattern itself says more of what was taken for granted: ", told.map(([what, a]) => `${ASSUMED[what] ?? readable(what)} ${a.offset > 0 ? "+" : ""}${fixed(100 * a.offset, decimals(100 * a.stderr))} ± ${fixed(100 * a.stderr, decimals(100 * a.stderr))} % (taken as ± ${short(100 * a.sigma, 2)} %)`).join("; "), "."),
  );
}

/** @param {number} value @param {number} total */
function cell(value, total) {
  const bar = h("span", { class: "share", "aria-hidden": "true" });
  bar.style.width = `${total > 0 ? 100 * (value / total) ** 2 : 0}%`;
  return h("td", { class: "num with-share" }, bar, h("span", {}, value > 0 ? short(value, 2) : "0"));
}

/** @param {any} result @param {((candidate: any) => void)|undefined} again */
export function candidateTable(result, again) {
  const list = result.candidates ?? [];
  if (list.length < 2) return null;
  const best = list[0].chi2;
  const odds = list.some((/** @type {any} */ c) => c.probability !== null && c.probability !== undefined);
  return h(
    "section", { class: "card" }, h("h3", {}, "Minima that were compared"),
    h("table", { class: "plain" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Thickness"), h("th", { scope: "col" }, "Tilt x, y"), h("th", { scope: "col" }, odds ? "Probability" : "χ² / answer’s"), again && h("th", { scope: "col" }, h("span", { class: "hidden" }, "Try")))),
      h("tbody", {}, list.slice(0, 8).map((/** @type {any} */ c, /** @type {number} */ i) => h(
        "tr", { class: i ? "" : "total" },
        h("td", { class: "num" }, `${fixed(c.thickness_nm, 2)} nm`), h("td", { class: "num" }, `${fixed(c.tilt_x_mrad, 2)}, ${fixed(c.tilt_y_mrad, 2)}`),
        h("td", { class: "num" }, odds ? percent(c.probability) : best > 0 && c.chi2 > 0 ? short(c.chi2 / best, 3) : "–"),
        again && h("td", {}, i ? button("Start here", () => again(c), { class: "small" }) : h("span", { class: "quiet-text" }, "answer")),
      )))),
  );
}
