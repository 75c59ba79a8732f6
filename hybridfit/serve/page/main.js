// The start: what the server is, the three views, the address bar, dropped files, and the connection.

import { connection, get, watchConnection } from "./api.js";
import { button, fill, h } from "./dom.js";
import { fitPage } from "./fitpage.js";
import { mapsPage } from "./mapspage.js";
import { sessionPage } from "./session.js";
import { themeSwitch } from "./theme.js";

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const banner = byId("banner");
const state = byId("connection");

/** @type {Record<string, any>} */
const pages = {};

themeSwitch(byId("theme"));

/** @param {string} words @param {boolean} good */
function connected(words, good) {
  state.classList.toggle("bad", !good);
  fill(state, h("span", { class: "dot", "aria-hidden": "true" }), h("span", { class: "words" }, words));
}

connection.addEventListener("lost", () => {
  fill(banner, h("span", {}, h("b", {}, "No connection. "), "Is “hybridfit serve” still running in its terminal? Start it again; this page goes on by itself."));
  banner.hidden = false;
  connected("no connection", false);
});
connection.addEventListener("about", (event) => {
  const { engine } = /** @type {CustomEvent} */ (event).detail;
  connected(!engine?.state || engine.state === "ready" ? "ready" : engine.state, true);
});
connection.addEventListener("back", () => {
  banner.hidden = true;
  if (pages.fit) for (const page of Object.values(pages)) page.back?.();
  else start();
});

/** Show the view that the address names. */
function route() {
  const [, name = "fit", ...rest] = location.hash.split("/").map(decodeURIComponent);
  const tab = name in pages ? name : "fit";
  for (const other of Object.keys(pages)) {
    byId(`view-${other}`).hidden = other !== tab;
    if (other !== tab) pages[other].close?.();
  }
  for (const link of document.querySelectorAll("nav a")) {
    if (/** @type {HTMLElement} */ (link).dataset.tab === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = { fit: "hybridfit", session: "Session · hybridfit", maps: "Maps · hybridfit" }[tab] ?? "hybridfit";
  pages[tab].open(...rest);
}

/** Files may be dropped anywhere. */
function takeDrops() {
  let depth = 0;
  const has = (/** @type {DragEvent} */ e) => e.dataTransfer?.types.includes("Files");
  const mark = (/** @type {boolean} */ on) => document.body.classList.toggle("dropping", on);
  document.addEventListener("dragenter", (e) => { if (has(e)) { depth += 1; mark(true); } });
  document.addEventListener("dragleave", (e) => { if (has(e)) { depth -= 1; mark(depth > 0); } });
  document.addEventListener("dragover", (e) => { if (has(e)) e.preventDefault(); });
  document.addEventListener("drop", (e) => {
    if (!has(e)) return;
    e.preventDefault();
    depth = 0;
    mark(false);
    location.hash = "#/fit";
    pages.fit?.drop([...(e.dataTransfer?.files ?? [])]);
  });
}

async function start() {
  try {
    const about = await get("/api/about");
    pages.fit = fitPage(about);
    pages.session = sessionPage(about);
    pages.maps = mapsPage(about);
    for (const [name, page] of Object.entries(pages)) fill(byId(`view-${name}`), page.root);
    byId("connection").title = `hybridfit ${about.version}`;
    route();
  } catch (error) {
    connected("no connection", false);
    fill(byId("view-fit"), h("div", { class: "notice bad", role: "alert" }, h("p", {}, /** @type {Error} */ (error).message), button("Try again", start)));
    byId("view-fit").hidden = false;
    if (!(/** @type {any} */ (error).status === undefined || /** @type {any} */ (error).status)) watchConnection();
    return;
  }
  watchConnection();
}

window.addEventListener("hashchange", () => pages.fit && route());
takeDrops();
start();
