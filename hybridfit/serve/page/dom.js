// Elements made by code. Whatever a server or a file says becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {Node|string|number|null|undefined|false|Array<any>} Child
 */

/**
 * Set what an element has: class, on (handlers), dataset, booleans, and attributes.
 * @param {Element} element
 * @param {Record<string, any>} props
 */
function set(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "data") Object.assign(/** @type {HTMLElement} */ (element).dataset, value);
    else if (name === "value") /** @type {any} */ (element).value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * Append children; strings and numbers become text nodes.
 * @param {Element} element
 * @param {Child[]} children
 */
export function append(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/**
 * An HTML element.
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...Child} children
 * @returns {any}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  append(element, ...children);
  set(element, props);
  return element;
}

/**
 * An SVG element.
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...Child} children
 * @returns {any}
 */
export function s(tag, props = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  set(element, props);
  append(element, ...children);
  return element;
}

/**
 * Put these children in place of those that are there.
 * @param {Element} element
 * @param {...Child} children
 */
export function fill(element, ...children) {
  element.replaceChildren();
  return append(element, ...children);
}

let count = 0;

/** An id that no other element has. @param {string} stem */
export function unique(stem) {
  count += 1;
  return `${stem}-${count}`;
}

/**
 * A labelled control: label above, control, and what there is to say about it below.
 * @param {string} label
 * @param {HTMLElement} control
 * @param {{unit?: string, help?: Child}} [more]
 */
export function field(label, control, more = {}) {
  if (!control.id) control.id = unique("field");
  const help = more.help === undefined ? null : h("p", { class: "help", id: `${control.id}-help` }, more.help);
  if (help) control.setAttribute("aria-describedby", help.id);
  const row = more.unit ? h("span", { class: "with-unit" }, control, h("span", { class: "unit" }, more.unit)) : control;
  return h("div", { class: "field" }, h("label", { for: control.id }, label), row, help);
}

/**
 * A button.
 * @param {Child} content
 * @param {(event: Event) => void} act
 * @param {Record<string, any>} [props]
 * @returns {HTMLButtonElement}
 */
export function button(content, act, props = {}) {
  return h("button", { type: "button", ...props, on: { click: act } }, content);
}

/** A few words that go away by themselves, with something that can be done about them.
 * @param {string} words
 * @param {{label: string, act: () => void, otherwise?: () => void}} [offer]
 * @param {number} [seconds]
 */
export function toast(words, offer, seconds = 8) {
  const place = /** @type {HTMLElement} */ (document.getElementById("toasts"));
  const box = h("div", { class: "toast" }, h("span", {}, words));
  let taken = false;
  const close = () => {
    if (!box.isConnected) return;
    box.remove();
    if (!taken) offer?.otherwise?.();
  };
  if (offer) box.append(button(offer.label, () => { taken = true; close(); offer.act(); }, { class: "small" }));
  box.append(button("×", close, { class: "quiet small", "aria-label": "Close this message" }));
  place.append(box);
  const timer = () => setTimeout(() => (box.contains(document.activeElement) ? timer() : close()), 1000 * seconds);
  timer();
}
