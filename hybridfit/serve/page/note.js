// A note about a fit, saved when it changes.

import { send } from "./api.js";
import { field, h } from "./dom.js";

/**
 * A control that saves itself.
 * @param {string} id
 * @param {string} note
 * @param {(words: string, bad?: boolean) => void} say
 * @param {Record<string, any>} [props]
 * @returns {HTMLInputElement}
 */
export function noteInput(id, note, say, props = {}) {
  let saved = note;
  const input = h("input", {
    type: "text", value: note, maxlength: 2000, autocomplete: "off", ...props,
    on: {
      change: async () => {
        const now = input.value;
        if (now === saved) return;
        say("saving …");
        try {
          await send("PATCH", `/api/fits/${encodeURIComponent(id)}`, { note: now });
          saved = now;
          say("saved");
        } catch (error) {
          say(`Not saved: ${/** @type {Error} */ (error).message}`, true);
        }
      },
      keydown: (/** @type {KeyboardEvent} */ e) => {
        if (e.key === "Enter") input.blur();
        if (e.key === "Escape") {
          input.value = saved;
          input.blur();
        }
      },
    },
  });
  return input;
}

/** @param {string} id @param {string} note @param {string} label */
export function noteField(id, note, label) {
  const state = h("span", { class: "note-state", role: "status" });
  const input = noteInput(id, note, (words, bad) => {
    state.textContent = words;
    state.classList.toggle("bad", Boolean(bad));
  }, { placeholder: "What is this? Kept in the session table." });
  const out = field(label, input);
  out.classList.add("note");
  out.querySelector("label").append(" ", state);
  return out;
}
