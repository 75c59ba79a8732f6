// Which crystal a frame shows: libraries ranked by their odds, of which one is taken.

import { ended, followJob, send } from "./api.js";
import { button, fill, h, toast } from "./dom.js";
import { short } from "./format.js";
import { progressBar } from "./progress.js";

const SHOWN = 5;
const MIRRORED = 0.7;
const STAGES = /** @type {Record<string, string>} */ ({ templates: "preparing the libraries", match: "comparing", refine: "refining the best" });

/** A probability in words. @param {number} p */
const odds = (p) => (p > 0.999 ? "> 99.9 %" : p < 0.001 ? "< 0.1 %" : `${short(100 * p, p < 0.1 ? 2 : 3)} %`);

/**
 * @param {() => Promise<FormData|null>} ask what is sent; null where something is missing, which has been said
 * @param {(name: string, mirrored: boolean) => void} take
 */
export function whichCrystal(ask, take) {
  const bar = progressBar("Progress of the comparison");
  const place = h("div", { class: "odds", role: "status" });
  let asked = 0;
  /** @type {(() => void)|null} */
  let leave = null;
  /** @type {string|null} */
  let job = null;

  const clear = () => {
    asked += 1;
    leave?.();
    leave = null;
    if (job) send("POST", `/api/jobs/${encodeURIComponent(job)}/stop`).catch(() => undefined);
    job = null;
    fill(place);
    go.disabled = false;
  };

  /** @param {string} words */
  const fail = (words) => {
    leave = job = null;
    go.disabled = false;
    fill(place, h("p", { class: "notice bad", role: "alert" }, words));
  };

  const start = async () => {
    clear();
    const mine = asked;
    go.disabled = true;
    const body = await ask().catch((error) => { toast(error.message); return null; });
    if (!body || mine !== asked) {
      if (mine === asked) go.disabled = false;
      return;
    }
    try {
      const accepted = await send("POST", "/api/identify", body);
      if (mine !== asked) return;
      job = accepted.job;
    } catch (error) {
      if (mine === asked) fail(/** @type {Error} */ (error).message);
      return;
    }
    fill(place, bar.element);
    leave = followJob(/** @type {string} */ (job), (now) => {
      if (mine !== asked) return;
      const words = now.progress?.words;
      bar.show({ ...now, progress: { ...now.progress, words: STAGES[words] ?? words } });
      if (!ended(now)) return;
      if (now.state === "done" && now.results?.length) {
        leave = job = null;
        go.disabled = false;
        show(now.results[0]);
      } else fail(now.error || "The comparison was stopped.");
    }, fail);
  };

  /** @param {any} found the object of `hybridfit identify --json` */
  const show = (found) => {
    const matches = found.matches.filter((/** @type {any} */ one) => one.thickness_nm !== null).slice(0, SHOWN);
    const words = found.message.replace("fit them with --flip.", "taking it here says so to the fit.");
    const row = (/** @type {string} */ name, /** @type {string} */ about, /** @type {number} */ p) => [
      h("span", { class: "odds-name" }, name, about && h("span", { class: "quiet-text" }, about)), h("span", { class: "odds-value" }, odds(p)),
      h("span", { class: "odds-bar" }, (() => { const part = h("span", {}); part.style.width = `${100 * p}%`; return part; })()),
    ];
    const rows = matches.map((/** @type {any} */ one) => {
      const mirrored = (one.mirrored ?? 0) > MIRRORED;
      const about = `${short(one.thickness_nm, 3)} nm, leaves ${short(100 * Math.max(one.structure_left ?? 0, 0), 2)} %${mirrored ? ", mirrored" : ""}`;
      return h("li", {}, button(row(one.title, about, one.probability), () => take(one.library, mirrored), { class: "odds-row", "aria-label": `Take ${one.title}, ${odds(one.probability)}` }));
    });
    fill(
      place, h("p", {}, words), h("ol", {}, rows, h("li", { class: "odds-row" }, row("None of these", "", found.none))),
      found.not_compared.length > 0 && h("p", { class: "help" }, "Not compared: ", found.not_compared.map((/** @type {any} */ one) => `${one.library} (${one.why})`).join("; "), "."),
    );
  };

  const go = button("Which crystal is it?", start, { class: "small" });
  return { element: h("div", { class: "which" }, go, place), clear };
}
