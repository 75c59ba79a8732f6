// The view "Fit": frames and settings at the left, jobs and answers at the right.

import { ended, followJob, get, send } from "./api.js";
import { button, field, fill, h, toast } from "./dom.js";
import { base, measured, number, short } from "./format.js";
import { Frames } from "./frames.js";
import { icon } from "./icons.js";
import { whichCrystal } from "./identify.js";
import { LibraryChoice } from "./library.js";
import { moreOptions } from "./more.js";
import { progressBar } from "./progress.js";
import { badge, showFit } from "./result.js";
import { recall, remember } from "./store.js";
import { STATES } from "./words.js";

/** @typedef {{id: string, name: string, file: File|null, job: any, fit?: any}} Entry */

const NO_FRAME = "Choose a frame first: drop it on this page, or press “Drop frames here”.";

/** Whether the answer is below the form. */
const narrow = () => matchMedia("(max-width: 899px)").matches;

/** @param {any} about */
export function fitPage(about) {
  const more = moreOptions(about, { raw: true, mask: h("div", { class: "mask-place" }) });
  const frames = new Frames(() => more.reading());
  more.root.querySelector(".mask-place").replaceWith(h("div", { class: "field" }, h("span", { class: "label" }, "Mask"), frames.maskTools));
  more.onReading(() => frames.preview());
  const angle = h("input", { type: "text", inputmode: "decimal", autocomplete: "off", value: recall("semi_angle", "") });
  const angleField = field("Convergence semi-angle", angle, { unit: "mrad", help: "Half the opening of the cone; the radius of the disc." });
  const angleHelp = angleField.querySelector(".help");
  const library = new LibraryChoice(about.default_library, () => angle.value.trim());
  const which = whichCrystal(() => question(), (name, mirrored) => {
    library.take(name);
    if (mirrored) more.flip();
  });
  const problem = h("p", { class: "notice bad", role: "alert", hidden: true });
  const go = h("button", { type: "submit", class: "primary wide" }, "Fit");
  const form = h("form", { class: "side", "aria-label": "What to fit", novalidate: true, on: { submit: (/** @type {Event} */ e) => { e.preventDefault(); submit(); } } },
    frames.element, library.element, angleField, which.element, problem, go, more.root);
  const batch = h("div", { class: "batch" });
  const place = h("div", { class: "answer" });
  const root = h("div", { class: "split" }, form, h("div", { class: "stage" }, batch, place));

  /** @type {Entry[]} */
  let entries = [];
  /** @type {(() => void)|null} */
  let leave = null;
  /** @type {string|null} */
  let shown = null;
  const bar = progressBar("Progress of the fit");

  const label = () => { go.textContent = frames.files.length > 1 ? `Fit ${frames.files.length} files` : "Fit"; };
  frames.addEventListener("change", () => {
    label();
    which.clear();
    problem.hidden = true;
  });
  frames.addEventListener("calibration", (e) => {
    const known = /** @type {CustomEvent} */ (e).detail.semi_angle_mrad ?? /** @type {CustomEvent} */ (e).detail.semi_angle;
    if (!known) {
      fill(angleHelp, "Half the opening of the cone; the radius of the disc.");
      return;
    }
    angle.value = String(Number(known.toFixed(4)));
    fill(angleHelp, "Taken from the file.");
  });
  angle.addEventListener("input", () => angle.removeAttribute("aria-invalid"));

  /** @param {string} words @param {HTMLElement|undefined} [control] */
  const complain = (words, control) => {
    fill(problem, words);
    problem.hidden = false;
    control?.closest("details.group")?.setAttribute("open", "");
    control?.closest("details.more")?.setAttribute("open", "");
    control?.setAttribute("aria-invalid", "true");
    control?.focus();
  };

  /** The semi-angle; null where it is missing, which is said. */
  const semiAngle = () => {
    const value = number(angle.value);
    if (value !== null && value > 0) return value;
    complain("Give the convergence semi-angle in mrad, such as 13.6.", angle);
    return null;
  };

  /** The options of the form; null where one is wrong, which is said. */
  const options = () => {
    try {
      return more.read();
    } catch (error) {
      complain(/** @type {Error} */ (error).message, /** @type {any} */ (error).input);
      return null;
    }
  };

  /** What is sent to compare the first frame with the libraries. */
  const question = async () => {
    problem.hidden = true;
    const [file] = frames.files;
    if (!file) {
      complain(NO_FRAME, frames.input);
      return null;
    }
    const value = semiAngle();
    const asked = value !== null && options();
    if (!asked) return null;
    remember("semi_angle", angle.value);
    const { background, hints = {}, flip, dataset, shape, dtype, offset } = asked;
    const { thickness: _, tilt: __, ...camera } = hints;
    const body = new FormData();
    body.append("file", file);
    body.append("options", JSON.stringify({ semi_angle: value, first: true, background, hints: camera, flip, dataset, shape, dtype, offset }));
    if (frames.mask?.share) body.append("mask", await frames.mask.png(), "mask.png");
    return body;
  };

  /** @param {File[]} files */
  const submit = async (files = frames.files) => {
    problem.hidden = true;
    if (!files.length) return complain(NO_FRAME, frames.input);
    if (!library.value) return complain("Choose a crystal, or make its library from a CIF first.", library.select);
    const value = semiAngle();
    if (value === null) return undefined;
    const range = library.entry?.semi_angles;
    if (range && value > range[1] * (1 + 1e-9)) return complain(`This library reaches ${short(range[1], 3)} mrad. Choose another, or make one from a CIF with this semi-angle.`, angle);
    const given = options();
    if (!given) return undefined;
    const asked = { library: library.value, semi_angle: value, origin: "page", session: true, ...given };
    remember("semi_angle", angle.value);
    go.disabled = true;
    if (!(await library.ready())) {
      go.disabled = false;
      return complain("The library was not built; its message is above.", library.select);
    }
    const mask = frames.mask?.share ? await frames.mask.png() : null;
    /** @type {Entry[]} */
    const fresh = [];
    let trouble = "";
    for (const [i, file] of files.entries()) {
      if (files.length > 1) go.textContent = `Sending ${i + 1} of ${files.length} …`;
      const body = new FormData();
      body.append("file", file);
      body.append("options", JSON.stringify(asked));
      if (mask) body.append("mask", mask, "mask.png");
      try {
        const { job } = await send("POST", "/api/fit", body);
        fresh.push({ id: job, name: file.name, file, job: { state: "queued", fits: [] } });
      } catch (error) {
        trouble = /** @type {Error} */ (error).message;
        if (files.length > 1) fresh.push({ id: "", name: file.name, file, job: { state: "failed", fits: [], error: trouble } });
      }
    }
    go.disabled = false;
    label();
    if (trouble && files.length === 1) return complain(trouble);
    entries = fresh;
    shown = null;
    fill(place);
    if (location.hash !== "#/fit") history.replaceState(null, "", "#/fit");
    document.dispatchEvent(new Event("moved"));
    follow();
    if (narrow()) batch.scrollIntoView({ block: "start" });
    return undefined;
  };

  /** Follow the first job that is not over; one stream at a time. */
  const follow = () => {
    leave?.();
    leave = null;
    draw();
    const next = entries.find((entry) => entry.id && !ended(entry.job));
    if (!next) return;
    const over = () => {
      leave = null;
      draw();
      const first = !shown;
      if (first || shown === next.id) reveal(next).then(() => { if (first && narrow()) (batch.hidden ? place : batch).scrollIntoView({ block: "start" }); });
      document.dispatchEvent(new Event("fits"));
      follow();
    };
    leave = followJob(next.id, (job) => {
      next.job = job;
      if (ended(job)) {
        summary(next).then(over);
      } else draw();
    }, (message) => {
      next.job = { state: "failed", fits: [], error: message };
      over();
    });
  };

  /** What the first fit of a file says, for the list. @param {Entry} entry */
  const summary = async (entry) => {
    const [id] = entry.job.fits ?? [];
    if (id && entries.length > 1) entry.fit = await get(`/api/fits/${encodeURIComponent(id)}`).catch(() => undefined);
  };

  /** @param {Entry} entry */
  const reveal = async (entry) => {
    shown = entry.id || entry.name;
    draw();
    const { job } = entry;
    if (job.fits?.length === 1) return showFit(place, job.fits[0], { again });
    if (job.fits?.length > 1) return stack(entry);
    if (job.state === "failed") {
      fill(place, h("div", { class: "status bad", role: "alert" }, h("span", { class: "status-symbol" }, icon("slash")),
        h("div", {}, h("h2", { class: "status-word" }, `${base(entry.name)} was not fitted`), h("p", { class: "todo" }, job.error || "The server gives no reason. Look at its terminal."))));
    } else if (job.state === "stopped") fill(place, h("p", { class: "notice" }, "This fit was stopped."));
    return undefined;
  };

  /** A file with several frames: choose one of its answers. @param {Entry} entry */
  const stack = async (entry) => {
    const inner = h("div", {});
    const ids = entry.job.fits;
    const choice = h("select", { "aria-label": "Frame", on: { change: () => showFit(inner, ids[Number(choice.value)], { again }) } }, ids.map((/** @type {string} */ _, /** @type {number} */ i) => h("option", { value: i }, `frame ${i + 1} of ${ids.length}`)));
    fill(place, h("div", { class: "tools" }, field("Frame of the stack", choice)), inner);
    await showFit(inner, ids[0], { again });
  };

  /** Fit again from another minimum. @param {any} candidate */
  const again = (candidate) => {
    more.hint(candidate);
    const entry = entries.find((one) => one.id === shown);
    const file = entry?.file ?? frames.files[0];
    if (file) submit([file]);
    else {
      toast("The hint is set. Choose the frame again, and press Fit.");
      frames.input.focus();
    }
  };

  /** @param {Entry} entry */
  const stop = async (entry) => {
    try {
      await send("POST", `/api/jobs/${encodeURIComponent(entry.id)}/stop`);
    } catch (error) {
      toast(/** @type {Error} */ (error).message);
    }
  };

  let drawn = "";
  const draw = () => {
    const running = entries.find((entry) => entry.id && !ended(entry.job));
    if (running) bar.show(running.job);
    const key = JSON.stringify([entries.map((e) => [e.id, e.name, e.job.state, e.job.fits]), shown]);
    if (key === drawn) return;
    drawn = key;
    batch.hidden = !entries.length || (entries.length === 1 && !running && shown !== null);
    if (!entries.length) return;
    const many = entries.length > 1;
    const done = entries.filter((entry) => ended(entry.job)).length;
    const focused = document.activeElement instanceof HTMLElement && batch.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    fill(
      batch,
      running && h("div", { class: "running card" }, h("div", { class: "tools" }, h("h2", {}, "Fitting ", h("span", { class: "file" }, base(running.name))), h("span", { class: "spring" }), button("Stop", () => stop(running), { class: "small", data: { key: "stop" } })), bar.element),
      many && h("div", { class: "card" }, h("h3", {}, `${done} of ${entries.length} files done`), h("ol", { class: "jobs" }, entries.map((entry, i) => {
        const over = ended(entry.job);
        const said = entry.fit?.result;
        const state = said ? badge(said.status) : h("span", { class: `badge ${over && entry.job.state !== "done" ? "bad" : "idle"}` }, icon(over ? (entry.job.state === "done" ? "check" : "cross") : "clock"), STATES[entry.job.state]);
        const found = said?.thickness_nm ? `${measured(said.thickness_nm.value, said.thickness_nm.stderr).filter(Boolean).join(" ± ")} nm` : "";
        const place = button([h("span", { class: "file" }, entry.name), state, h("span", { class: "num" }, found)],
          () => reveal(entry), { class: `job${(entry.id || entry.name) === shown ? " current" : ""}`, disabled: !over, data: { key: `job${i}` } });
        return h("li", {}, place);
      }))),
    );
    if (focused) /** @type {HTMLElement|null} */ (batch.querySelector(`[data-key="${focused}"]`))?.focus();
  };

  /** What is there before the first fit. */
  const welcome = async () => {
    const steps = [["Drop a frame", "A PACBED pattern as the camera recorded it; several at once if you like."], ["Say which crystal and semi-angle", "Both are remembered for the next frame."], ["Read the status, then the numbers", "Thickness and tilt come with errors, and with a picture of what is left over."]];
    const recent = h("div", {});
    fill(place, h("div", { class: "welcome" }, h("h1", {}, "How thick is the crystal, and how is it tilted?"), h("ol", { class: "steps" }, steps.map(([a, b]) => h("li", {}, h("b", {}, a), h("span", {}, b)))), recent));
    const rows = (await get("/api/fits").catch(() => [])).slice(0, 6);
    if (!rows.length || !recent.isConnected) return;
    append(recent, rows);
  };
  const append = (/** @type {Element} */ recent, /** @type {any[]} */ rows) => fill(
    recent, h("h2", {}, "Recent fits"),
    h("ul", { class: "recent" }, rows.map((row) => h("li", {}, h("a", { href: `#/fit/${row.id}` }, h("span", { class: "file" }, base(row.file)), badge(row.status), h("span", { class: "num" }, row.thickness_nm === null || row.thickness_nm === undefined ? "" : `${short(row.thickness_nm, 4)} nm`))))),
  );

  library.load().catch((error) => complain(error.message));
  return {
    root,
    /** @param {string} [id] a fit to show */
    open: (id) => {
      if (id) {
        shown = id;
        entries = entries.filter((entry) => entry.job.fits?.includes(id) || entries.length > 1);
        draw();
        batch.hidden = entries.length < 2;
        return showFit(place, id, { again });
      }
      if (!entries.length) return welcome();
      return undefined;
    },
    drop: (/** @type {File[]} */ files) => frames.take(files),
    back: () => library.load(library.value || undefined).catch(() => undefined),
  };
}
