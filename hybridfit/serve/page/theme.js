// Light, dark, or as the system has it; remembered.

import { fill } from "./dom.js";
import { icon } from "./icons.js";
import { recall, remember } from "./store.js";

const NEXT = /** @type {Record<string, string>} */ ({ auto: "light", light: "dark", dark: "auto" });
const WORDS = /** @type {Record<string, [string, string]>} */ ({ auto: ["auto", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] });

/** @param {HTMLElement} control */
export function themeSwitch(control) {
  let theme = recall("theme", "auto");
  if (!(theme in NEXT)) theme = "auto";
  const show = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    fill(control, icon(WORDS[theme][0]));
    const words = `Colours: ${WORDS[theme][1]}. Change to ${WORDS[NEXT[theme]][1]}.`;
    control.setAttribute("aria-label", words);
    control.setAttribute("title", words);
  };
  control.addEventListener("click", () => {
    theme = NEXT[theme];
    remember("theme", theme);
    show();
  });
  show();
}
