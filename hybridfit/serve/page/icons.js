// Icons as inline SVG, 16 × 16, in the colour of the text.

import { s } from "./dom.js";

/** @type {Record<string, string>} */
const PATHS = {
  check: "M3 8.5 6.5 12 13 4.5",
  cross: "M4 4l8 8M12 4l-8 8",
  slash: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M4.2 11.8l7.6-7.6",
  bound: "M3 8h8M8 5l3 3-3 3M13.5 3v10",
  fork: "M8 14V9M8 9 4 5M8 9l4-4M4 8V5h3M9 5h3v3",
  dots: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  down: "M8 2.5v8M4.5 7 8 10.5 11.5 7M3 13.5h10",
  trash: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9",
  folder: "M2 12.5v-9h4l1.5 2H14v7z",
  file: "M4 2h5l3 3v9H4zM9 2v3h3",
  frame: "M2.5 2.5h11v11h-11zM8 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1.2v1.5M8 13.3v1.5M1.2 8h1.5M13.3 8h1.5M3.2 3.2l1 1M11.8 11.8l1 1M12.8 3.2l-1 1M4.2 11.8l-1 1",
  moon: "M13 9.6A5.6 5.6 0 0 1 6.4 3 5.6 5.6 0 1 0 13 9.6z",
  auto: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  up: "M8 13V4M4.5 7.5 8 4l3.5 3.5",
  clock: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M8 5v3.2l2 1.3",
};

/** @param {string} name @param {string} [style] class */
export function icon(name, style = "icon") {
  return s(
    "svg", { class: style, viewBox: "0 0 16 16", width: 16, height: 16, fill: "none", stroke: "currentColor", "stroke-width": 1.6,
      "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true", focusable: "false" },
    s("path", { d: PATHS[name] ?? PATHS.dots }),
  );
}
