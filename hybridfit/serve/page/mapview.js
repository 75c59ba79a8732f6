// One map: it grows while positions are fitted; any position can be opened.

import { ended, floats, followJob, get, listen, send } from "./api.js";
import { COLOURS, drawBar, made, painted, rgb } from "./colour.js";
import { button, field, fill, h, toast, unique } from "./dom.js";
import { base, quantiles, short } from "./format.js";
import { icon } from "./icons.js";
import { Panel, View } from "./panel.js";
import { progressBar } from "./progress.js";
import { showFit } from "./result.js";
import { recall, remember } from "./store.js";
import { statusOf } from "./words.js";

const SIGNED = /^(tilt_[xy]|deflection_[xy]|field_[xy]|ellipticity_[ab])$/;
const PAUSE_MS = 700;

export class MapView {
  /** @param {string} id @param {() => void} changed */
  constructor(id, changed) {
    this.id = id;
    this.path = `/api/maps/${encodeURIComponent(id)}`;
    this.changed = changed;
    /** @type {any} */
    this.map = null;
    this.variable = recall("variable", "thickness");
    /** @type {any} */
    this.shown = null;
    /** @type {Float32Array|null} */
    this.states = null;
    /** @type {(() => void)[]} */
    this.leave = [];
    this.root = h("article", { class: "map", "aria-label": "Map" }, h("p", { class: "quiet-text" }, "Loading the map …"));
    this.fitPlace = h("div", { class: "map-fit" });
    this.bar = progressBar("Progress of the map");
    this.late = 0;
    this.closed = false;
    this.headKey = "";
    /** @type {HTMLElement|undefined} */
    this.trouble = undefined;
    this.job = /** @type {any} */ (null);
  }

  /** @param {{row: number, col: number}|null} at */
  async start(at) {
    try {
      this.map = await get(this.path);
    } catch (error) {
      fill(this.root, h("p", { class: "notice bad", role: "alert" }, /** @type {Error} */ (error).message));
      return;
    }
    if (!this.map.shape) {
      fill(this.root, h("h2", { class: "file" }, this.map.name), this.bar.element);
      this.#follow();
      return;
    }
    this.#build();
    await this.refresh();
    this.#follow();
    if (at && this.view) {
      this.view.point(at);
      this.#open(at);
    }
  }

  close() {
    this.opened?.();
    for (const stop of this.leave) stop();
    this.leave = [];
    this.closed = true;
  }

  #build() {
    const { map } = this;
    const [rows, cols] = map.shape;
    this.view = new View(rows, cols);
    const readout = h("p", { class: "readout", id: unique("readout"), "aria-live": "polite" });
    const names = map.variables.filter((/** @type {any} */ v) => v.name !== "status");
    if (!names.some((/** @type {any} */ v) => v.name === this.variable)) this.variable = names[0]?.name ?? "thickness";
    const option = (/** @type {any} */ v) => h("option", { value: v.name }, v.label ?? v.name);
    const error = (/** @type {any} */ v) => v.name.endsWith("_stderr");
    const choice = h("select", { on: { change: () => { this.variable = choice.value; remember("variable", this.variable); this.#values(); } } },
      names.filter((/** @type {any} */ v) => !error(v)).map(option), names.some(error) && h("optgroup", { label: "Standard errors" }, names.filter(error).map(option)));
    choice.value = this.variable;
    const options = { describedBy: readout.id, keepCursor: true, pick: (/** @type {any} */ at) => this.#open(at) };
    const label = `${rows} by ${cols} positions. Arrow keys move, Enter opens the fit of a position.`;
    this.values = new Panel(this.view, `Map of a variable, ${label}`, options);
    this.status = new Panel(this.view, `Map of the status, ${label}`, options);
    this.colourBar = h("canvas", { class: "bar", "aria-hidden": "true" });
    this.ends = h("div", { class: "bar-ends" });
    this.legend = h("ul", { class: "status-legend" });
    this.controls = h("div", { class: "tools" });
    this.summary = h("p", { class: "quiet-text" });
    const tell = (/** @type {{row: number, col: number}|null} */ at) => this.#tell(readout, at);
    for (const panel of [this.values, this.status]) {
      panel.onhover = tell;
      panel.canvas.addEventListener("pointerleave", () => tell(this.view?.cursor ?? null));
    }
    this.view.addEventListener("cursor", () => tell(this.view?.cursor ?? null));
    tell(null);
    const kinds = [["map.nc", "netCDF"], ["map.csv", "CSV"], ["map.png", "PNG"], ["report.html", "HTML report"]];
    this.downloads = h("div", { class: "downloads", role: "group", "aria-label": "Downloads" }, kinds.map(([file, words]) => h("a", { class: "button small", href: `${this.path}/${file}`, download: "" }, icon("down"), words)));
    fill(
      this.root, h("div", { class: "tools title" }, h("h2", { class: "file" }, map.name), this.summary, h("span", { class: "spring" }), this.controls),
      this.bar.element,
      h("div", { class: "map-panels" },
        h("figure", { class: "panel" }, h("figcaption", {}, field("Variable", choice)), this.values.canvas, this.colourBar, this.ends),
        h("figure", { class: "panel" }, h("figcaption", {}, "Status"), this.status.canvas, this.legend)),
      h("div", { class: "tools" }, readout, h("span", { class: "spring" }), button("Whole map", () => this.view?.reset(), { class: "quiet small" })),
      this.downloads, this.fitPlace,
    );
  }

  /** Ask for everything again. */
  async refresh() {
    try {
      this.map = await get(this.path);
      if (!this.map.shape) return;
      if (!this.view) this.#build();
      await this.#states();
      await this.#values();
      this.changed();
    } catch (error) {
      if (/** @type {any} */ (error).status) toast(/** @type {Error} */ (error).message);
    }
    this.#head();
  }

  /** At most so often, however fast rows are finished. */
  #soon() {
    if (this.late || this.closed) return;
    this.late = setTimeout(async () => {
      await this.refresh();
      this.late = 0;
    }, PAUSE_MS);
  }

  #follow() {
    for (const stop of this.leave) stop();
    this.leave = [];
    const job = this.map?.job;
    if (!job) return;
    const stop = followJob(job, (now) => {
      this.job = now;
      this.bar.show(now);
      this.#head();
      if (!this.view) this.#soon();
      if (ended(now)) {
        for (const each of this.leave) each();
        this.refresh();
        this.changed();
      }
    }, () => {
      for (const each of this.leave) each();
      this.#head();
    });
    const rows = listen(`${this.path}/events`, "rows", () => this.#soon());
    this.leave = [stop, rows];
    if (this.job && ended(this.job)) rows();
  }

  #head() {
    if (this.closed || !this.controls) return;
    const { map } = this;
    const state = this.job?.state ?? map.state ?? (map.total && map.done >= map.total ? "done" : "stopped");
    const active = ["queued", "running"].includes(state);
    const whole = map.total > 0 && map.done >= map.total;
    this.bar.element.hidden = !active;
    const act = async (/** @type {string} */ what) => {
      try {
        const answer = await send("POST", `/api/jobs/${encodeURIComponent(map.job)}/${what}`);
        if (what === "resume") {
          this.job = null;
          this.map = { ...(await get(this.path)), state: "queued" };
          if (answer?.job) this.map.job = answer.job;
          this.#follow();
        }
        this.changed();
      } catch (error) {
        toast(/** @type {Error} */ (error).message);
      }
    };
    const key = `${active} ${whole} ${state}`;
    if (key !== this.headKey) {
      this.headKey = key;
      const had = this.controls.contains(document.activeElement);
      fill(this.controls, active && button("Stop", () => act("stop")), !active && !whole && map.job && button("Resume", () => act("resume"), { class: "primary" }));
      if (had) this.controls.querySelector("button")?.focus();
    }
    if (this.downloads) this.downloads.hidden = !whole || state !== "done";
    const facts = [map.library, map.semi_angle && `${short(map.semi_angle, 4)} mrad`, map.total ? `${map.done} of ${map.total} positions` : "the scan is being opened"].filter(Boolean).join(" · ");
    fill(this.summary, facts, state === "stopped" && !whole ? ". Stopped: it goes on where it was." : "");
    if (state === "failed" && this.root) {
      if (!this.trouble) {
        this.trouble = h("p", { class: "notice bad", role: "alert" });
        this.root.querySelector(".title")?.after(this.trouble);
      }
      fill(/** @type {HTMLElement} */ (this.trouble), this.job?.error ?? map.error ?? "The map could not be made. What is done is kept.");
    } else {
      this.trouble?.remove();
      this.trouble = undefined;
    }
  }

  async #values() {
    const asked = this.variable;
    const found = await get(`${this.path}/values?name=${encodeURIComponent(asked)}`);
    if (asked !== this.variable || !this.values) return;
    const values = floats(found.values);
    const [rows, cols] = found.shape;
    const sure = this.#sure(values);
    let [low, high] = quantiles(sure, [0.01, 0.99]);
    let { colours } = { colours: COLOURS.viridis };
    if (asked === "tilt_azimuth") [low, high, colours] = [-180, 180, COLOURS.azimuth];
    else if (SIGNED.test(asked)) {
      const [most] = quantiles(sure.map(Math.abs), [0.99]);
      [low, high, colours] = [-(most || 1), most || 1, COLOURS.difference];
    }
    if (!(high > low)) [low, high] = [low - 0.5, low + 0.5];
    const scale = { low, high, colours };
    this.shown = { ...found, values, scale };
    this.values.show(painted(values, rows, cols, scale));
    drawBar(this.colourBar, scale);
    const unit = found.unit ? ` ${found.unit}` : "";
    const known = Number.isFinite(low);
    const beyond = [values.some((v) => v < low) ? "≤ " : "", "", values.some((v) => v > high) ? "≥ " : ""];
    fill(this.ends, known ? [low, (low + high) / 2, high].map((v, i) => h("span", {}, `${beyond[i]}${Math.abs(v) < 1e-9 * high ? "0" : short(v, 3)}${unit}`)) : h("span", {}, "nothing known yet"));
  }

  /** Values of positions that converged, where there are enough: they set the limits of the colours. @param {Float32Array} values */
  #sure(values) {
    const converged = this.map.status_meanings.indexOf("converged");
    const sure = values.filter((_, i) => this.states?.[i] === converged);
    return sure.length >= 4 ? sure : values;
  }

  async #states() {
    const found = await get(`${this.path}/values?name=status`);
    if (!this.status) return;
    const states = floats(found.values);
    this.states = states;
    const [rows, cols] = found.shape;
    const meanings = this.map.status_meanings;
    const colours = meanings.map((/** @type {string} */ name) => rgb(statusOf(name).colour));
    this.status.show(made(rows, cols, (i, data) => {
      const name = meanings[states[i]];
      if (name && name !== "not_done") data.set([...colours[states[i]], 255], 4 * i);
    }));
    const counts = new Map();
    for (const v of states) counts.set(meanings[v] ?? "not_done", (counts.get(meanings[v] ?? "not_done") ?? 0) + 1);
    const order = [...meanings, "not_done"].filter((name, i, all) => counts.has(name) && all.indexOf(name) === i);
    fill(this.legend, order.map((name) => {
      const status = statusOf(name);
      const patch = h("span", { class: "patch" });
      patch.style.background = status.colour;
      return h("li", {}, patch, icon(status.symbol), h("span", {}, status.word), h("span", { class: "num quiet-text" }, counts.get(name)));
    }));
  }

  /** @param {Element} readout @param {{row: number, col: number}|null} at */
  #tell(readout, at) {
    const [rows, cols] = this.map.shape;
    if (!at || at.row < 0 || at.col < 0 || at.row >= rows || at.col >= cols) {
      fill(readout, "Click a position to see its fit; or step with the arrow keys and press Enter.");
      return;
    }
    const i = at.row * cols + at.col;
    const value = this.shown?.values[i];
    const name = this.map.status_meanings[this.states?.[i] ?? NaN] ?? "not_done";
    fill(
      readout, h("span", {}, `row ${at.row}, column ${at.col}`),
      this.shown && h("span", {}, `${this.shown.label ?? this.variable} `, h("b", {}, Number.isFinite(value) ? `${short(value, 4)}${this.shown.unit ? ` ${this.shown.unit}` : ""}` : "–")),
      h("span", {}, statusOf(name).word.toLowerCase()),
    );
  }

  /** The fit of a position. @param {{row: number, col: number}} at */
  async #open(at) {
    this.opened?.();
    const bar = progressBar(`Fit of row ${at.row}, column ${at.col}`);
    const title = h("h3", {}, `Position: row ${at.row}, column ${at.col}`);
    const inner = h("div", {}, bar.element);
    fill(this.fitPlace, title, inner);
    history.replaceState(null, "", `#/maps/${encodeURIComponent(this.id)}/${at.row},${at.col}`);
    const fail = (/** @type {string} */ words) => fill(inner, h("p", { class: "notice bad", role: "alert" }, words));
    try {
      const { job } = await send("POST", `${this.path}/fit`, { y: at.row, x: at.col });
      let over = false;
      this.opened = followJob(job, (now) => {
        if (over) return;
        bar.show(now);
        if (!ended(now)) return;
        over = true;
        if (now.fits?.length) showFit(inner, now.fits[0], { heading: "h3" });
        else fail(now.error ?? "This position was not fitted.");
      }, fail);
    } catch (error) {
      fail(/** @type {Error} */ (error).message);
    }
  }

  /** @type {(() => void)|undefined} */
  opened = undefined;
}
