// Which crystal: a list of libraries with what each can, building one, and making one of a CIF.

import { ended, followJob, get, send } from "./api.js";
import { button, field, fill, h } from "./dom.js";
import { number, short } from "./format.js";
import { typed } from "./more.js";
import { progressBar } from "./progress.js";
import { recall, remember } from "./store.js";

const CIF = "\u0000cif";

/** The title without its ranges, which are told below the list. @param {any} one */
const titleOf = (one) => (one.title || one.name).replace(/[,;] to [\d.]+ mrad.*$/, "");

/** A control that chooses a library. */
export class LibraryChoice extends EventTarget {
  /** @param {string} usual name of the default @param {() => string} semiAngle */
  constructor(usual, semiAngle) {
    super();
    this.usual = usual;
    this.semiAngle = semiAngle;
    /** @type {any[]} */
    this.list = [];
    this.select = h("select", { on: { change: () => this.#chosen() } });
    this.about = h("div", { class: "library-about" });
    this.cif = this.#cifForm();
    this.cif.hidden = true;
    this.element = h("div", {}, field("Crystal", this.select), this.about, this.cif);
    /** @type {Map<string, () => void>} */
    this.following = new Map();
  }

  get value() {
    return this.select.value === CIF ? "" : this.select.value;
  }

  get entry() {
    return this.list.find((one) => one.name === this.value);
  }

  async load(wanted = recall("library", this.usual)) {
    this.list = await get("/api/libraries");
    const option = (/** @type {any} */ one) => h("option", { value: one.name }, `${titleOf(one)}${one.built ? "" : one.job ? " (being built)" : " (not built yet)"}`);
    const [built, others] = [this.list.filter((one) => one.built), this.list.filter((one) => !one.built)];
    fill(
      this.select,
      built.length > 0 && h("optgroup", { label: "Ready" }, built.map(option)),
      others.length > 0 && h("optgroup", { label: "Built on first use" }, others.map(option)),
      h("optgroup", { label: "Another crystal" }, h("option", { value: CIF }, "From a CIF …")),
    );
    const names = this.list.map((one) => one.name);
    if (typeof wanted === "function") wanted = wanted(names);
    this.select.value = [wanted, this.usual, names[0]].find((name) => names.includes(name)) ?? CIF;
    for (const one of this.list) if (one.job && !this.following.has(one.job)) this.#follow(one.job, one.name);
    this.#show();
    this.dispatchEvent(new Event("loaded"));
  }

  /** Choose a library by its name. @param {string} name */
  take(name) {
    this.select.value = name;
    this.#chosen();
  }

  /** Build the chosen library where it is not built yet. @returns {Promise<boolean>} whether it can be used */
  async ready() {
    const { entry } = this;
    if (!entry || entry.built) return Boolean(entry);
    if (!entry.job) await this.#build(entry.name);
    while (this.following.size) await new Promise((done) => this.addEventListener("loaded", done, { once: true }));
    return Boolean(this.list.find((one) => one.name === entry.name)?.built);
  }

  #chosen() {
    if (this.value) remember("library", this.value);
    this.#show();
    this.dispatchEvent(new Event("change"));
  }

  #show() {
    const one = this.entry;
    this.cif.hidden = this.select.value !== CIF;
    if (!one) return fill(this.about);
    const facts = [
      one.thickness_nm && `${short(one.thickness_nm[0], 3)} – ${short(one.thickness_nm[1], 3)} nm`,
      one.semi_angles && `semi-angle up to ${short(one.semi_angles[1], 3)} mrad`,
      one.has_network ? "with a network" : "without a network: the first fit takes longer",
      one.structure?.length ? `also finds ${one.structure.map((/** @type {any} */ s) => (s.name ?? s).replaceAll("_", " ")).join(", ")}` : "",
    ].filter(Boolean).join(" · ");
    fill(this.about, h("p", { class: "help" }, facts), !one.built && !one.job && button("Build it now", () => this.#build(one.name), { class: "small" }));
    return undefined;
  }

  /** The library that a job made: the one that is new in the list, or the named one. @param {string[]} before @param {string} name */
  #made(before, name) {
    const fresh = (/** @type {string[]} */ known) => known.find((one) => !before.includes(one)) ?? this.usual;
    return before.includes(name) ? name : fresh;
  }

  /** @param {string} name */
  async #build(name) {
    try {
      const { job } = await send("POST", "/api/libraries", { name });
      this.#follow(job, name);
    } catch (error) {
      fill(this.about, h("p", { class: "notice bad", role: "alert" }, /** @type {Error} */ (error).message));
    }
  }

  /** @param {string} id @param {string} name */
  #follow(id, name) {
    const bar = progressBar(`Building ${name}`);
    const before = this.list.map((one) => one.name);
    if (this.value === name || !this.value) this.about.append(bar.element);
    const show = (/** @type {any} */ job) => {
      if ((this.value === name || !this.value) && !bar.element.isConnected) this.about.append(bar.element);
      bar.show(job);
      if (!ended(job)) return;
      this.following.delete(id);
      bar.element.remove();
      this.load(job.state === "done" ? this.#made(before, name) : undefined).then(() => {
        if (job.state === "failed") this.about.append(h("p", { class: "notice bad", role: "alert" }, job.error ?? "The library was not built."));
      }, () => undefined);
    };
    this.following.set(id, followJob(id, show, () => this.load().catch(() => undefined)));
  }

  #cifForm() {
    const file = h("input", { type: "file", accept: ".cif" });
    const zone = h("input", { type: "text", placeholder: "0 0 1" });
    const energy = h("input", { type: "text", inputmode: "decimal", value: "200" });
    const problem = h("p", { class: "notice bad", role: "alert", hidden: true });
    const make = async () => {
      problem.hidden = true;
      try {
        if (!file.files.length) throw Object.assign(new Error("Choose a CIF."), { input: file });
        if (!zone.value.trim()) throw Object.assign(new Error("Give the zone axis, such as 0 0 1."), { input: zone });
        const kilovolt = typed(energy, "Energy");
        if (!(Number(kilovolt) > 0)) throw Object.assign(new Error("Give the energy in kV, such as 200."), { input: energy });
        const form = new FormData();
        form.append("cif", file.files[0]);
        form.append("zone", zone.value.trim());
        form.append("energy_kv", String(kilovolt));
        if (!(Number(number(this.semiAngle())) > 0)) throw Object.assign(new Error("Give the convergence semi-angle below first: the library is made for it."), { input: null });
        form.append("semi_angle", String(number(this.semiAngle())));
        const { job } = await send("POST", "/api/libraries", form);
        this.#follow(job, file.files[0].name);
      } catch (error) {
        const wrong = /** @type {any} */ (error);
        fill(problem, wrong.message);
        problem.hidden = false;
        wrong.input?.focus();
      }
    };
    return h(
      "fieldset", { class: "inset" }, h("legend", {}, "A library of your crystal"), field("CIF", file),
      h("div", { class: "pairs" }, field("Zone axis", zone), field("Energy", energy, { unit: "kV" })),
      h("p", { class: "help" }, "Beams and sampling are chosen by convergence; this takes some minutes."), problem, button("Make the library", make),
    );
  }
}
