// The view "Session": a table of all fits, sorted, filtered, with notes, and thickness and tilt over time.

import { get, send } from "./api.js";
import { graph } from "./chart.js";
import { button, fill, h, toast, unique } from "./dom.js";
import { base, dateOf, measured, percent, when } from "./format.js";
import { icon } from "./icons.js";
import { noteInput } from "./note.js";
import { badge } from "./result.js";
import { recall, remember } from "./store.js";
import { STATUSES, statusOf } from "./words.js";

const AGAIN_MS = 4000;
const PAGE = 200;

/** @typedef {{key: string, words: string, unit?: string, num?: boolean, cell: (row: any) => any, sort?: (row: any) => any}} Column */

/** @param {string} key @param {string} stderr */
const number = (key, stderr) => (/** @type {any} */ row) => {
  const [value, error] = measured(row[key], row[stderr], 2);
  return value === "–" ? "" : [value, error && h("span", { class: "error" }, ` ± ${error}`)];
};

/** Where a fit is of a map, the position too. @param {any} row */
const fileOf = (row) => base(row.file ?? "") + (row.y === null || row.y === undefined || /, position /.test(row.file) ? "" : ` [${row.y}, ${row.x}]`);

/** @type {Column[]} */
const COLUMNS = [
  { key: "time", words: "Time", cell: (row) => when(row.time), sort: (row) => dateOf(row.time)?.getTime() ?? 0 },
  { key: "file", words: "File", cell: (row) => h("a", { class: "file", href: `#/fit/${encodeURIComponent(row.id)}`, title: row.file }, fileOf(row)), sort: (row) => fileOf(row).toLowerCase() },
  { key: "status", words: "Status", cell: (row) => badge(row.status), sort: (row) => Object.keys(STATUSES).indexOf(row.status) },
  { key: "thickness_nm", words: "Thickness", unit: "nm", num: true, cell: number("thickness_nm", "thickness_stderr") },
  { key: "tilt_x_mrad", words: "Tilt x", unit: "mrad", num: true, cell: number("tilt_x_mrad", "tilt_x_stderr") },
  { key: "tilt_y_mrad", words: "Tilt y", unit: "mrad", num: true, cell: number("tilt_y_mrad", "tilt_y_stderr") },
  { key: "residual_fraction", words: "Residual", num: true, cell: (row) => (row.residual_fraction === null || row.residual_fraction === undefined ? "" : percent(row.residual_fraction)) },
  { key: "note", words: "Note", cell: () => "" },
  { key: "library", words: "Library", cell: (row) => row.library ?? "" },
  { key: "semi_angle", words: "Semi-angle", unit: "mrad", num: true, cell: (row) => (row.semi_angle ? measured(row.semi_angle, null, 2)[0] : "") },
  { key: "origin", words: "From", cell: (row) => row.origin ?? "" },
];

/** @param {any} _about */
export function sessionPage(_about) {
  /** @type {any[]} */
  let rows = [];
  let order = recall("sort", { key: "time", down: true });
  if (!COLUMNS.some((one) => one.key === order.key)) order = { key: "time", down: true };
  let shownRows = PAGE;
  /** @type {number|undefined} */
  let timer;
  let text = "";
  /** Fits that are deleted, while it can be undone and until the server knows. @type {Set<string>} */
  const gone = new Set();

  const filter = h("input", { type: "search", placeholder: "file, status, library, note", autocomplete: "off", "aria-label": "Filter the table", on: { input: () => { shownRows = PAGE; draw(); } } });
  const count = h("span", { class: "quiet-text", role: "status" });
  const head = h("tr", {});
  const body = h("tbody", {});
  const trend = h("div", { class: "graphs" });
  const empty = h("p", { class: "empty", hidden: true });
  const moreRows = button("Show more", () => { shownRows += PAGE; draw(); }, { hidden: true });
  const said = h("span", { class: "hidden", role: "status", id: unique("said") });
  const table = h("div", { class: "table-scroll", role: "region", "aria-label": "Table of all fits", tabindex: 0 }, h("table", { class: "session" }, h("thead", {}, head), body));
  const root = h(
    "div", { class: "page" },
    h("div", { class: "tools title" }, h("h1", {}, "Session"), count, h("span", { class: "spring" }), filter, h("a", { class: "button", href: "/api/fits.csv", download: "" }, icon("down"), "CSV")),
    trend, table, empty, moreRows, said,
  );

  for (const column of COLUMNS) {
    const act = button([column.words, column.unit && h("span", { class: "unit" }, ` ${column.unit}`), h("span", { class: "arrow", "aria-hidden": "true" })], () => {
      order = { key: column.key, down: order.key === column.key ? !order.down : column.key === "time" };
      remember("sort", order);
      draw();
    }, { class: "sort" });
    head.append(h("th", { scope: "col", class: column.num ? "num" : "", data: { key: column.key } }, act));
  }
  head.append(h("th", { scope: "col" }, h("span", { class: "hidden" }, "Delete")));

  const wanted = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const column = COLUMNS.find((one) => one.key === order.key) ?? COLUMNS[0];
    const value = column.sort ?? ((/** @type {any} */ row) => row[column.key]);
    const none = (/** @type {any} */ v) => v === null || v === undefined || v === "" || Number.isNaN(v);
    const found = rows.filter((row) => {
      if (gone.has(row.id)) return false;
      const all = `${row.file} ${fileOf(row)} ${row.status} ${statusOf(row.status).word} ${row.library} ${row.origin} ${row.note}`.toLowerCase();
      return words.every((/** @type {string} */ word) => all.includes(word));
    });
    const sign = order.down ? -1 : 1;
    return found.sort((a, b) => {
      const [u, v] = [value(a), value(b)];
      if (none(u) || none(v)) return Number(none(u)) - Number(none(v));
      const less = typeof u === "number" && typeof v === "number" ? u - v : String(u).localeCompare(String(v), undefined, { numeric: true });
      return sign * less;
    });
  };

  const drawHead = () => {
    for (const th of head.querySelectorAll("th[data-key]")) {
      const mine = th.dataset.key === order.key;
      if (mine) th.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
      th.querySelector(".arrow").textContent = mine ? (order.down ? "↓" : "↑") : "";
    }
  };

  const draw = () => {
    drawHead();
    const found = wanted();
    const all = rows.length - gone.size;
    fill(count, found.length === all ? `${all} ${all === 1 ? "fit" : "fits"}` : `${found.length} of ${all} fits`);
    const editing = document.activeElement instanceof HTMLElement && body.contains(document.activeElement) ? document.activeElement : null;
    // a note that is being written is not taken away
    if (!editing || editing.tagName !== "INPUT") {
      const focused = editing?.closest("tr")?.dataset.id;
      const kind = editing?.tagName;
      fill(body, found.slice(0, shownRows).map(rowOf));
      if (focused && kind) body.querySelector(`tr[data-id="${CSS.escape(focused)}"] ${kind.toLowerCase()}`)?.focus();
    }
    moreRows.hidden = found.length <= shownRows;
    table.hidden = !found.length;
    empty.hidden = found.length > 0;
    fill(empty, all ? "No fit matches this filter. Clear it to see all." : "No fits yet. Every fit of this page, of hybridfit watch and of other programs will be listed here.");
    drawTrend(found);
  };

  const rowOf = (/** @type {any} */ row) => {
    const input = noteInput(row.id, row.note ?? "", (words, bad) => {
      if (words === "saved") row.note = input.value;
      fill(said, words);
      if (bad) toast(words);
    }, { class: "note-cell", "aria-label": `Note on ${fileOf(row)}`, placeholder: "–" });
    const cells = COLUMNS.map((column) => h("td", { class: column.num ? "num" : column.key === "library" || column.key === "origin" ? "quiet-text" : "" }, column.key === "note" ? input : column.cell(row)));
    const away = button(icon("trash"), () => remove(row), { class: "quiet icon-button", "aria-label": `Delete the fit of ${fileOf(row)}` });
    return h("tr", { data: { id: row.id } }, cells, h("td", {}, away));
  };

  /** Tell the server, when it can no longer be undone. @param {string} id @param {boolean} [leaving] */
  const erase = async (id, leaving = false) => {
    if (!gone.has(id)) return;
    try {
      await send("DELETE", `/api/fits/${encodeURIComponent(id)}`, null, { keepalive: leaving });
    } catch (error) {
      gone.delete(id);
      draw();
      toast(/** @type {Error} */ (error).message);
    }
  };
  window.addEventListener("pagehide", () => gone.forEach((id) => erase(id, true)));

  /** @param {any} row */
  const remove = (row) => {
    const at = wanted().findIndex((one) => one.id === row.id);
    gone.add(row.id);
    draw();
    (body.querySelectorAll("tr")[Math.max(0, at - (at === body.children.length ? 1 : 0))]?.querySelector("td:last-child button") ?? filter).focus();
    toast(`The fit of ${fileOf(row)} is deleted.`, {
      label: "Undo",
      act: () => {
        gone.delete(row.id);
        draw();
        body.querySelector(`tr[data-id="${CSS.escape(row.id)}"] a`)?.focus();
      },
      otherwise: () => erase(row.id),
    });
  };

  let before = "";
  /** @param {any[]} found */
  const drawTrend = (found) => {
    const known = found.filter((row) => Number.isFinite(row.thickness_nm) && row.thickness_nm !== null && dateOf(row.time)).sort((a, b) => (dateOf(a.time)?.getTime() ?? 0) - (dateOf(b.time)?.getTime() ?? 0)).slice(-500);
    const key = known.map((row) => `${row.id}${row.status}`).join();
    if (key === before) return;
    before = key;
    if (known.length < 2) {
      fill(trend);
      return;
    }
    const good = known.filter((row) => row.status === "converged");
    const others = known.filter((row) => row.status !== "converged");
    const seconds = (/** @type {any[]} */ list) => list.map((row) => (dateOf(row.time)?.getTime() ?? 0) / 1000);
    const first = seconds(known)[0];
    const long = seconds(known)[known.length - 1] - first > 86400;
    const times = (/** @type {number} */ t) => {
      const d = new Date(1000 * t);
      const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
      const span = seconds(known)[known.length - 1] - first;
      return long ? `${d.getMonth() + 1}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}` : `${two(d.getHours())}:${two(d.getMinutes())}${span < 600 ? `:${two(d.getSeconds())}` : ""}`;
    };
    const series = (/** @type {any[]} */ list, /** @type {string} */ name, /** @type {string} */ style, /** @type {string} */ label, /** @type {string} */ error) =>
      ({ x: seconds(list), y: list.map((row) => row[name]), errors: list.map((row) => row[error] ?? null), kind: /** @type {"points"} */ ("points"), style, label });
    fill(
      trend,
      graph({ title: "Thickness over time", xLabel: "time", yLabel: "thickness (nm)", times, height: 180, says: "Thickness of the fits in this table over time",
        series: [series(good, "thickness_nm", "c-experiment", "converged", "thickness_stderr"), ...(others.length ? [series(others, "thickness_nm", "c-doubt", "other status", "none")] : [])] }),
      graph({ title: "Tilt over time", xLabel: "time", yLabel: "tilt (mrad)", times, height: 180, says: "Both components of the tilt over time",
        series: [series(good, "tilt_x_mrad", "c-experiment", "tilt x", "tilt_x_stderr"), series(good, "tilt_y_mrad", "c-fit", "tilt y", "tilt_y_stderr")] }),
    );
  };

  const load = async () => {
    const found = await get("/api/fits");
    const now = JSON.stringify(found);
    if (now === text && body.children.length) return;
    text = now;
    rows = found;
    for (const id of gone) if (!rows.some((row) => row.id === id)) gone.delete(id);
    draw();
  };

  const poll = () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (!document.hidden) await load().catch(() => undefined);
      poll();
    }, AGAIN_MS);
  };
  document.addEventListener("fits", () => { if (root.isConnected && !root.closest("[hidden]")) load().catch(() => undefined); });

  return {
    root,
    open: () => {
      load().catch((error) => { fill(empty, error.message); empty.hidden = false; table.hidden = true; });
      poll();
    },
    close: () => clearTimeout(timer),
    back: () => { if (!root.closest("[hidden]")) load().catch(() => undefined); },
  };
}
