// The frames of a fit: dropped or chosen, the first of them shown, with the mask that is drawn on it.

import { blobOf, send } from "./api.js";
import { button, fill, h, unique } from "./dom.js";
import { base, size } from "./format.js";
import { icon } from "./icons.js";
import { editMask, framed, Mask, shaded } from "./mask.js";

/** Tells "change" (other files) and "calibration" (detail: what the file says). */
export class Frames extends EventTarget {
  /** @param {() => any} reading how files are to be read */
  constructor(reading) {
    super();
    this.reading = reading;
    /** @type {File[]} */
    this.files = [];
    /** @type {Mask|null} */
    this.mask = null;
    /** @type {HTMLCanvasElement|null} */
    this.bitmap = null;
    this.asked = 0;
    this.input = h("input", { type: "file", multiple: true, class: "hidden-input", id: unique("files"), on: { change: () => { this.take([...this.input.files]); this.input.value = ""; },
      // Enter would send the form in some browsers
      keydown: (/** @type {KeyboardEvent} */ e) => { if (e.key === "Enter") { e.preventDefault(); this.input.click(); } } } });
    this.list = h("ul", { class: "file-list" });
    this.picture = h("div", { class: "preview" });
    this.problem = h("p", { class: "notice bad", role: "alert", hidden: true });
    const words = h("span", {}, h("b", {}, "Drop frames here"), h("br"), h("span", { class: "quiet-text" }, "or choose files: TIFF, DM4, MRC, NPY, HDF5, PNG …"));
    this.drop = h("label", { class: "drop", for: this.input.id }, icon("frame", "icon big"), words);
    this.element = h("div", { class: "frames" }, this.input, this.drop, this.list, this.problem, this.picture);
    this.maskTools = h("div", { class: "mask-tools" });
    this.#showMask();
  }

  /** Take these files in place of the others. @param {File[]} files */
  take(files) {
    if (!files.length) return;
    this.files = files;
    this.bitmap = null;
    this.mask = null;
    this.#show();
    this.dispatchEvent(new Event("change"));
    this.preview();
  }

  #show() {
    this.drop.classList.toggle("small", this.files.length > 0);
    fill(this.list, this.files.map((file) => h("li", {}, icon("file"), h("span", { class: "file" }, file.name), h("span", { class: "quiet-text" }, size(file.size)),
      button("×", () => { this.files = this.files.filter((one) => one !== file); this.#show(); this.dispatchEvent(new Event("change")); if (this.files.length) this.preview(); else { this.bitmap = null; this.mask = null; this.#draw(null); this.problem.hidden = true; } }, { class: "quiet small", "aria-label": `Leave out ${file.name}` }))));
  }

  /** Ask the server for the picture of the first frame. */
  async preview() {
    const [file] = this.files;
    if (!file) return;
    this.asked += 1;
    const { asked } = this;
    this.problem.hidden = true;
    if (!this.bitmap) fill(this.picture, h("p", { class: "help", role: "status" }, "Reading the frame …"));
    try {
      const form = new FormData();
      form.append("file", file);
      form.append("options", JSON.stringify(this.reading()));
      const found = await send("POST", "/api/preview", form);
      if (asked !== this.asked) return;
      const [rows, cols] = found.shape.slice(-2);
      this.bitmap = shaded(await createImageBitmap(blobOf(found.png)));
      if (!this.mask || this.mask.frameRows !== rows || this.mask.frameCols !== cols) {
        this.mask = new Mask(rows, cols);
        this.mask.addEventListener("change", () => this.#draw(found));
      }
      this.#draw(found);
      this.dispatchEvent(new CustomEvent("calibration", { detail: found.calibration ?? {} }));
    } catch (error) {
      if (asked !== this.asked) return;
      this.bitmap = null;
      this.#draw(null);
      fill(this.problem, icon("slash"), h("span", {}, h("b", {}, `${base(file.name)} cannot be used. `), /** @type {Error} */ (error).message));
      this.problem.hidden = false;
    }
  }

  /** @param {any} found */
  #draw(found) {
    if (!this.bitmap || !this.mask) {
      fill(this.picture);
      this.#showMask();
      return;
    }
    const { frameRows, frameCols } = this.mask;
    const canvas = framed(this.bitmap, this.mask);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Preview of ${this.files[0]?.name ?? "the frame"}`);
    const count = found?.frames > 1 ? `${found.frames} frames, ` : "";
    fill(this.picture, canvas, h("p", { class: "help" }, this.files.length > 1 && [h("span", { class: "file" }, this.files[0].name), h("br")], `${count}${frameRows} × ${frameCols} px`, found?.note && [h("br"), found.note]));
    this.#showMask();
  }

  #showMask() {
    const share = this.mask?.share ?? 0;
    const draw = () => {
      if (!this.bitmap || !this.mask) return;
      editMask(this.bitmap, this.mask);
    };
    const before = this.maskTools.contains(document.activeElement);
    fill(
      this.maskTools,
      button(share ? "Change the mask" : "Draw a mask", draw, { class: "small", disabled: !this.bitmap }),
      share > 0 && button("Remove it", () => this.mask?.clear(), { class: "small quiet" }),
      h("span", { class: "help" }, share ? `${(100 * share).toFixed(1)} % of the frame left out` : this.bitmap ? "Leave out a beam stop or dead pixels." : "Choose a frame first."),
    );
    if (before) this.maskTools.querySelector("button")?.focus();
  }
}
