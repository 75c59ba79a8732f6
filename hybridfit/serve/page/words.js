// What every status means, what to do about it, its symbol and its colour; names of quantities.

/**
 * @typedef {{word: string, symbol: string, tone: string, colour: string, meaning: string, todo: string}} Status
 */

/** @type {Record<string, Status>} */
export const STATUSES = {
  converged: {
    word: "Converged", symbol: "check", tone: "good", colour: "#009e73",
    todo: "Look at the residual, then use the numbers.",
    meaning: "The fit settled inside all bounds, and no other minimum is as good.",
  },
  at_bound: {
    word: "At a bound", symbol: "bound", tone: "warn", colour: "#e69f00",
    todo: "Move that bound under “More options”, or use a library that reaches further, and fit again.",
    meaning: "A parameter stopped at a bound, so its error is not known.",
  },
  ambiguous: {
    word: "Ambiguous", symbol: "fork", tone: "warn", colour: "#f0e442",
    todo: "Compare the candidates below. Give a hint for thickness or tilt, or record more electrons.",
    meaning: "A second minimum is nearly as deep.",
  },
  poor_match: {
    word: "Poor match", symbol: "cross", tone: "bad", colour: "#d55e00",
    todo: "Do not use the numbers yet. Check the library, the zone axis and the semi-angle, then look at the residual.",
    meaning: "Too much of the pattern is left over.",
  },
  failed: {
    word: "Failed", symbol: "cross", tone: "bad", colour: "#5a5a5a",
    todo: "Give hints for centre, scale and thickness under “More options”, and fit again.",
    meaning: "No fit was reached.",
  },
  unusable: {
    word: "Unusable", symbol: "slash", tone: "bad", colour: "#cc79a7",
    todo: "Record the frame again, or mask its bad pixels under “More options”.",
    meaning: "The frame cannot be fitted.",
  },
  unreadable: {
    word: "Unreadable", symbol: "slash", tone: "bad", colour: "#0072b2",
    todo: "Check the file. Raw data need shape and dtype, and some formats need the “formats” extra.",
    meaning: "The file cannot be read.",
  },
  not_done: {
    word: "Not done", symbol: "dots", tone: "idle", colour: "#c4c8cc",
    todo: "Resume the map.", meaning: "This position has not been fitted yet.",
  },
};

/** @param {string} name @returns {Status} */
export const statusOf = (name) =>
  STATUSES[name] ?? { word: name.replaceAll("_", " "), symbol: "dots", tone: "idle", colour: "#8a8f94", meaning: "", todo: "Read the message." };

/** Parameters of an answer in the order of the page: key, words, unit, decimals without an error. */
export const PARAMETERS = /** @type {[string, string, string, number][]} */ ([
  ["thickness_nm", "Thickness", "nm", 2],
  ["tilt_x_mrad", "Tilt x", "mrad", 2],
  ["tilt_y_mrad", "Tilt y", "mrad", 2],
  ["centre_x_px", "Centre, column", "px", 2],
  ["centre_y_px", "Centre, row", "px", 2],
  ["scale_px_per_mrad", "Scale", "px/mrad", 4],
  ["rotation_deg", "Rotation", "°", 2],
  ["ellipticity_a", "Ellipticity a", "", 4],
  ["ellipticity_b", "Ellipticity b", "", 4],
  ["semi_angle_mrad", "Semi-angle", "mrad", 3],
  ["blur_mrad", "Blur", "mrad", 3],
  ["vacuum", "Vacuum", "", 3],
  ["thickness_spread_nm", "Thickness spread", "nm", 2],
  ["tilt_spread_mrad", "Tilt spread", "mrad", 3],
]);

/** Parts of an error bar. @type {Record<string, string>} */
export const PARTS = {
  counting: "counting noise",
  misfit: "misfit",
  vibration: "vibration of atoms",
  energy: "energy",
  semi_angle: "semi-angle",
  point_spread: "point spread",
  library: "library",
};

/** What a fit takes for granted. @type {Record<string, string>} */
export const ASSUMED = { debye_waller: "Debye–Waller factors", energy: "energy", semi_angle: "semi-angle" };

/** What a job does at the moment. @type {Record<string, string>} */
export const STATES = { queued: "waiting", running: "working", done: "done", failed: "failed", stopped: "stopped" };

/** Names of structural parameters and others, readable. @param {string} name */
export const readable = (name) => name.replaceAll("_", " ");
