// How far a job is: a bar, words, and seconds.

import { fill, h } from "./dom.js";
import { dateOf } from "./format.js";
import { STATES } from "./words.js";

/** @param {string} label */
export function progressBar(label) {
  const bar = h("span", { class: "progress-fill" });
  const track = h("div", { class: "progress-track", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100 }, bar);
  const words = h("span", { class: "progress-words", "aria-live": "polite" });
  const clock = h("span", { class: "progress-clock" });
  const element = h("div", { class: "progress" }, track, h("div", { class: "progress-line" }, words, clock));
  const show = (/** @type {any} */ job) => {
    const fraction = job.progress?.fraction;
    const known = typeof fraction === "number" && Number.isFinite(fraction);
    track.classList.toggle("unknown", !known && job.state === "running");
    bar.style.width = known ? `${100 * fraction}%` : "";
    if (known) track.setAttribute("aria-valuenow", String(Math.round(100 * fraction)));
    else track.removeAttribute("aria-valuenow");
    const says = job.progress?.words || STATES[job.state] || job.state;
    if (words.textContent !== says) fill(words, says);
    const started = dateOf(job.started);
    fill(clock, started && job.state === "running" ? `${Math.max(0, Math.round((Date.now() - started.getTime()) / 1000))} s` : "");
  };
  return { element, show };
}
