// The view "Maps": choose a scan, say how to fit it, and see the maps that there are.

import { get, send } from "./api.js";
import { button, field, fill, h } from "./dom.js";
import { base, number, size, when } from "./format.js";
import { icon } from "./icons.js";
import { LibraryChoice } from "./library.js";
import { MapView } from "./mapview.js";
import { moreOptions, typed } from "./more.js";
import { recall, remember } from "./store.js";
import { STATES } from "./words.js";

/** Look through the folders that the server was given. */
class Browser extends EventTarget {
  /** @param {string[]} folders */
  constructor(folders) {
    super();
    this.folder = folders[0] ?? "";
    this.path = "";
    this.chosen = "";
    this.crumbs = h("nav", { class: "crumbs", "aria-label": "Folder" });
    this.list = h("ul", { class: "files" });
    const choice = folders.length > 1 ? field("Folder", h("select", { on: { change: (/** @type {any} */ e) => { this.folder = e.target.value; this.path = ""; this.load(); } } }, folders.map((name) => h("option", { value: name }, name)))) : null;
    this.element = h("div", { class: "browser" }, choice, this.crumbs, this.list);
  }

  async load() {
    if (!this.folder) {
      fill(this.list, h("li", { class: "help" }, "This server was given no folder. Start it with “hybridfit serve --folder DIR” to map the scans in it."));
      return;
    }
    try {
      const query = new URLSearchParams({ folder: this.folder, path: this.path });
      const found = await get(`/api/files?${query}`);
      this.#show(found);
    } catch (error) {
      fill(this.list, h("li", { class: "notice bad", role: "alert" }, /** @type {Error} */ (error).message));
    }
  }

  /** @param {any} found */
  #show(found) {
    const parts = this.path.split("/").filter(Boolean);
    const to = (/** @type {string} */ path) => async () => { this.path = path; await this.load(); this.list.querySelector("button")?.focus(); };
    fill(this.crumbs, button(base(this.folder) || this.folder, to(""), { class: "quiet small" }), parts.map((part, i) => [h("span", { "aria-hidden": "true" }, "/"), button(part, to(parts.slice(0, i + 1).join("/")), { class: "quiet small" })]));
    const below = (/** @type {string} */ name) => [...parts, name].join("/");
    const files = [...found.files].sort((a, b) => Number(b.readable) - Number(a.readable) || String(a.name).localeCompare(b.name, undefined, { numeric: true }));
    fill(
      this.list,
      found.folders.map((/** @type {string} */ name) => h("li", {}, button([icon("folder"), h("span", { class: "file" }, name)], to(below(name)), { class: "row" }))),
      files.map((file) => h("li", {}, button([icon("file"), h("span", { class: "file" }, file.name), h("span", { class: "quiet-text" }, size(file.bytes))], () => this.#choose(below(file.name)), {
        class: "row", disabled: !file.readable, "aria-pressed": below(file.name) === this.chosen ? "true" : "false", title: file.readable ? null : "hybridfit does not read this format" }))),
      !found.folders.length && !files.length && h("li", { class: "help" }, "This folder is empty."),
    );
  }

  /** @param {string} path */
  #choose(path) {
    this.chosen = path;
    for (const row of this.list.querySelectorAll("button.row[aria-pressed]")) row.setAttribute("aria-pressed", String(row.querySelector(".file").textContent === base(path)));
    this.dispatchEvent(new Event("change"));
  }
}

/** @param {any} about */
export function mapsPage(about) {
  const browser = new Browser(about.folders ?? []);
  const angle = h("input", { type: "text", inputmode: "decimal", autocomplete: "off", value: recall("semi_angle", "") });
  const library = new LibraryChoice(about.default_library, () => angle.value.trim());
  const average = h("input", { type: "number", min: 1, max: 64, value: 1 });
  const bin = h("input", { type: "number", min: 1, max: 16, value: 1 });
  const step = h("input", { type: "text", inputmode: "decimal", autocomplete: "off", placeholder: "the file’s" });
  const roi = h("input", { type: "text", autocomplete: "off", placeholder: "0:64, 10:74" });
  const common = h("input", { type: "checkbox", checked: true });
  const rotation = h("input", { type: "text", inputmode: "decimal", autocomplete: "off" });
  const more = moreOptions({ ...about, parameters: about.parameters }, { raw: true });
  const scan = h("div", { class: "group-body" },
    h("div", { class: "pairs" }, field("Average positions", average, { unit: "× n" }), field("Bin frames", bin, { unit: "× n" }), field("Step of the scan", step, { unit: "nm" }), field("Rotation, roughly", rotation, { unit: "°" })),
    field("Part of the scan (rows, columns)", roi, { help: "First and last, such as 0:64, 10:74." }),
    h("label", { class: "check" }, common, "all positions share scale, rotation and distortion"));
  const problem = h("p", { class: "notice bad", role: "alert", hidden: true });
  const chosen = h("p", { class: "help", role: "status" }, "Choose a scan above.");
  const go = h("button", { type: "submit", class: "primary wide" }, "Make the map");
  const form = h("form", { class: "side", "aria-label": "A new map", novalidate: true, on: { submit: (/** @type {Event} */ e) => { e.preventDefault(); submit(); } } },
    h("h2", {}, "New map"), browser.element, chosen, library.element, field("Convergence semi-angle", angle, { unit: "mrad" }), problem, go,
    h("details", { class: "more" }, h("summary", {}, "Scan"), h("div", { class: "more-body" }, scan)), more.root);
  const list = h("ul", { class: "maps" });
  const place = h("div", { class: "answer" });
  const root = h("div", { class: "split" }, form, h("div", { class: "stage" }, list, place));
  /** @type {MapView|null} */
  let view = null;

  browser.addEventListener("change", () => fill(chosen, "Chosen: ", h("b", { class: "file" }, base(browser.chosen))));

  /** @param {string} words @param {HTMLElement|undefined} [control] */
  const complain = (words, control) => {
    fill(problem, words);
    problem.hidden = false;
    for (let up = control?.closest("details"); up; up = up.parentElement?.closest("details")) up.open = true;
    control?.focus();
  };

  const submit = async () => {
    problem.hidden = true;
    if (!browser.chosen) return complain("Choose a scan in the list first.", browser.list.querySelector("button") ?? undefined);
    if (!library.value) return complain("Choose a crystal first.", library.select);
    const value = number(angle.value);
    if (value === null || !(value > 0)) return complain("Give the convergence semi-angle in mrad, such as 13.6.", angle);
    /** @type {any} */
    const body = { folder: browser.folder, path: browser.chosen, library: library.value, semi_angle: value };
    try {
      const options = more.read();
      const hints = options.hints ?? {};
      const turn = typed(rotation, "Rotation") ?? hints.rotation;
      delete options.hints;
      delete options.gain;
      Object.assign(body, options);
      if (turn !== null && turn !== undefined) body.hint_rotation = turn;
      if (Number(average.value) > 1) body.average = Number(average.value);
      if (Number(bin.value) > 1) body.bin = Number(bin.value);
      const nm = typed(step, "Step of the scan");
      if (nm !== null) body.step_nm = nm;
      if (roi.value.trim()) {
        const found = /^(\d+):(\d+),(\d+):(\d+)$/.exec(roi.value.replaceAll(" ", ""));
        if (!found) throw Object.assign(new Error(`Part of the scan: “${roi.value}” is no region; give rows and columns, such as 0:64, 10:74.`), { input: roi });
        body.roi = found.slice(1).map(Number);
      }
      if (!common.checked) body.common = [];
    } catch (error) {
      return complain(/** @type {Error} */ (error).message, /** @type {any} */ (error).input);
    }
    remember("semi_angle", angle.value);
    go.disabled = true;
    try {
      const { map } = await send("POST", "/api/maps", body);
      location.hash = `#/maps/${encodeURIComponent(map)}`;
    } catch (error) {
      complain(/** @type {Error} */ (error).message);
    } finally {
      go.disabled = false;
    }
    return undefined;
  };

  /** @param {string} [current] */
  const load = async (current) => {
    const maps = await get("/api/maps");
    list.hidden = !maps.length;
    fill(list, maps.map((/** @type {any} */ map) => {
      const state = map.state ?? (map.done >= map.total ? "done" : "stopped");
      const full = map.total > 0 && map.done >= map.total;
      return h("li", {}, h("a", { href: `#/maps/${encodeURIComponent(map.id)}`, "aria-current": map.id === current ? "true" : null }, h("b", { class: "file" }, map.name), h("span", { class: "quiet-text" }, [map.shape?.join(" × "), full ? "" : `${Math.floor((100 * map.done) / (map.total || 1))} %, ${STATES[state] ?? state}`, when(map.created)].filter(Boolean).join(" · "))));
    }));
    return maps;
  };

  return {
    root,
    /** @param {string} [id] @param {string} [at] */
    open: async (id, at) => {
      if (view && view.id === id) return;
      view?.close();
      view = null;
      browser.load();
      if (!angle.value) angle.value = recall("semi_angle", "");
      library.load(library.value || undefined).catch((error) => complain(error.message));
      try {
        const maps = await load(id);
        if (!id) {
          fill(place, h("div", { class: "welcome" }, h("h1", {}, maps.length ? "Choose a map, or make a new one" : "No map yet"), h("p", {}, "A 4D-STEM scan becomes a map of thickness and tilt, position by position. It may be stopped at any time, and goes on where it was.")));
          return;
        }
      } catch (error) {
        fill(place, h("p", { class: "notice bad", role: "alert" }, /** @type {Error} */ (error).message));
        return;
      }
      view = new MapView(id, () => load(id).catch(() => undefined));
      fill(place, view.root);
      const [y, x] = (at ?? "").split(",").map(Number);
      view.start(Number.isInteger(y) && Number.isInteger(x) ? { row: y, col: x } : null);
    },
    close: () => {
      view?.close();
      view = null;
    },
    back: () => {
      if (!root.closest("[hidden]")) {
        load(view?.id).catch(() => undefined);
        view?.refresh();
      }
    },
  };
}
