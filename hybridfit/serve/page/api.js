// The one place that talks to the server. Errors arrive as words that can be shown.

/** An error in words for people. status is 0 where no answer came. */
export class ApiError extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const PING_MS = 4000;
const LOST = "The connection to hybridfit is lost. Is “hybridfit serve” still running? This page tries again by itself.";
const TOKEN = "This server wants its token. Open the address that “hybridfit serve” printed when it started.";

/** Tells "lost" and "back". */
export const connection = new EventTarget();
let alive = true;
/** @type {number|undefined} */
let timer;

/** @param {boolean} now */
function note(now) {
  if (now === alive) return;
  alive = now;
  connection.dispatchEvent(new Event(now ? "back" : "lost"));
  schedule();
}

function schedule() {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    if (!document.hidden || !alive) await get("/api/about").catch(() => undefined);
    schedule();
  }, alive ? PING_MS : PING_MS / 2);
}

/** Begin to look now and then whether the server is there. */
export function watchConnection() {
  schedule();
}

/**
 * @param {string} method
 * @param {string} path
 * @param {BodyInit|object|null} [body] objects are sent as JSON
 * @param {{keepalive?: boolean}} [more]
 * @returns {Promise<any>}
 */
export async function send(method, path, body = null, more = {}) {
  /** @type {Record<string, string>} */
  const headers = method === "GET" ? {} : { "X-Hybridfit": "1" };
  let content = body;
  if (body !== null && !(body instanceof FormData) && typeof body === "object") {
    headers["Content-Type"] = "application/json";
    content = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: /** @type {BodyInit|null} */ (content), credentials: "same-origin", cache: "no-store", ...more });
  } catch {
    note(false);
    throw new ApiError(LOST, 0);
  }
  note(true);
  if (answer.status === 204) return null;
  let data = null;
  try {
    data = await answer.json();
  } catch {
    if (answer.ok) throw new ApiError("The server's answer cannot be read. Reload this page.", answer.status);
  }
  if (!answer.ok) throw new ApiError(inWords(answer.status, data), answer.status);
  if (path === "/api/about") connection.dispatchEvent(new CustomEvent("about", { detail: data }));
  return data;
}

/** @param {number} status @param {any} data */
function inWords(status, data) {
  if (typeof data?.error === "string") return data.error;
  if (status === 401) return TOKEN;
  if (status === 403) return "The server refuses this. Reload the page, and open it at the address that “hybridfit serve” printed.";
  if (status === 404) return "The server does not have this any more. Look into the session table.";
  if (status === 413) return "The file is too large for this server. Cut or bin it, or start the server with a larger limit.";
  return `The server met an error (${status}). Try again; if it stays, look at the terminal of “hybridfit serve”.`;
}

/** @param {string} path @returns {Promise<any>} */
export const get = (path) => send("GET", path);

/**
 * Listen to server-sent events, also across a restart of the server, until the returned function is called.
 * @param {string} path
 * @param {string} event
 * @param {(data: any) => void} hear
 * @param {() => void} [opened] called whenever the stream is (again) open
 * @returns {() => void}
 */
export function listen(path, event, hear, opened) {
  let stopped = false;
  /** @type {EventSource|undefined} */
  let source;
  /** @type {number|undefined} */
  let later;
  const open = () => {
    if (stopped || document.hidden) return;
    source?.close();
    source = new EventSource(path);
    source.onopen = () => {
      note(true);
      opened?.();
    };
    source.addEventListener(event, (message) => {
      let data = null;
      try {
        data = JSON.parse(/** @type {MessageEvent} */ (message).data);
      } catch { /* an event without content */ }
      if (!stopped) hear(data);
    });
    source.onerror = () => {
      source?.close();
      clearTimeout(later);
      later = setTimeout(open, 1500);
      if (!stopped) opened?.();
    };
  };
  // browsers open six connections to a host, all tabs together: a tab that nobody sees keeps none
  const seen = () => {
    if (document.hidden) source?.close();
    else open();
  };
  document.addEventListener("visibilitychange", seen);
  open();
  return () => {
    stopped = true;
    document.removeEventListener("visibilitychange", seen);
    clearTimeout(later);
    source?.close();
  };
}

/**
 * Follow a job to its end: by events, and by asking where the stream breaks off.
 * @param {string} id
 * @param {(job: any) => void} show
 * @param {(message: string) => void} gone the server does not know the job any more
 * @returns {() => void} stop following
 */
export function followJob(id, show, gone) {
  const path = `/api/jobs/${encodeURIComponent(id)}`;
  let over = false;
  const hear = (/** @type {any} */ job) => {
    if (over || !job) return;
    if (ended(job)) stop();
    show(job);
  };
  const ask = () => {
    if (over) return;
    get(path).then(hear, (error) => {
      if (error.status >= 400 && error.status < 500 && !over) {
        stop();
        gone(error.message);
      }
    });
  };
  const close = listen(`${path}/events`, "job", hear, ask);
  const stop = () => {
    over = true;
    close();
  };
  return stop;
}

/** Whether a job is over. @param {{state: string}} job */
export const ended = (job) => ["done", "failed", "stopped"].includes(job.state);

/** Numbers of base64 float32, little endian. @param {string} text @returns {Float32Array} */
export function floats(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const out = new Float32Array(bytes.length / 4);
  for (let i = 0; i < out.length; i += 1) out[i] = view.getFloat32(4 * i, true);
  return out;
}

/** A Blob of a data URL, which no rule of the page's security needs to allow. @param {string} url */
export function blobOf(url) {
  const [head, data] = url.split(",", 2);
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  return new Blob([bytes], { type: /data:([^;]+)/.exec(head)?.[1] ?? "image/png" });
}
