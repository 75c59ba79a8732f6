// What this browser remembers: small settings, by name.

const PREFIX = "hybridfit.";

/** @param {string} name @param {any} usual @returns {any} */
export function recall(name, usual) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? usual : JSON.parse(text);
  } catch {
    return usual;
  }
}

/** @param {string} name @param {any} value */
export function remember(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch { /* a private window remembers nothing */ }
}
