// Polls the state of the server: often while it is loading, and ever less often while it does not respond.

import { byId, el } from "./dom.js";

const WELL_MS = 10_000;
const BUSY_MS = 500;
const DOWN_MS = { first: 250, most: 2_000 };

/** All states but "ready": a word for the header, and what the server is doing. */
const STATES = {
  loading: { word: "Loading", doing: "Loading the model" },
  restarting: { word: "Restarting", doing: "Restarting the engine" },
  draining: { word: "Stopping", doing: "Finishing running requests before it stops" },
  stopped: { word: "Stopped", doing: "The server has stopped" },
  failed: { word: "Failed", doing: "The engine has failed" },
};
const NO_ANSWER = { state: "down", word: "No answer", doing: "The server does not respond", detail: "", progress: null };

/** What a server that reports its health is doing: in words, in detail, and its progress if known (0 to 1). */
export function doingOf({ state, reason, phase, progress }) {
  const { word, doing } = STATES[state] ?? { word: state, doing: `The server is ${state}` };
  const isStarting = state === "loading" || state === "restarting";
  return { word, doing, detail: reason || (isStarting ? phase : ""), progress: isStarting ? progress : null };
}

export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/**
 * Watches /health. Dispatches a "change" event whenever something changes. `state` is "unknown", "ready", "busy"
 * (loading, restarting, draining) or "down" (no answer, or failed).
 */
export class ServerHealth extends EventTarget {
  state = "unknown";
  #seen = NO_ANSWER;
  #timer = 0;
  #pause = DOWN_MS.first;

  /** Ask now, and keep asking. */
  async check() {
    clearTimeout(this.#timer);
    const seen = await ask();
    const isNew = seen.state !== this.state || Object.keys(seen).some((name) => seen[name] !== this.#seen[name]);
    this.state = seen.state;
    this.#seen = seen;
    if (isNew) this.dispatchEvent(new Event("change"));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.check(), this.#untilNext());
  }

  #untilNext() {
    if (this.state !== "down") this.#pause = DOWN_MS.first;
    if (this.state !== "down") return this.state === "ready" ? WELL_MS : BUSY_MS;
    this.#pause = Math.min(2 * this.#pause, DOWN_MS.most);
    return this.#pause;
  }

  /** What the server is doing, as a sentence: "Loading the model: 40 % (loading the weights)." */
  get sentence() {
    const { doing, detail, progress } = this.#seen;
    return `${doing}${progress === null ? "" : `: ${percent(progress)}`}${detail && ` (${detail})`}.`;
  }

  /** Resolves as soon as the server is ready; asks at once. Rejects when `signal` aborts. */
  async untilReady(signal) {
    await this.check();
    signal.throwIfAborted();
    await new Promise((resolve, reject) => {
      const done = () => {
        if (this.state === "ready") resolve();
      };
      this.addEventListener("change", done, { signal });
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      done();
    });
  }

  /** Update the indicator in the header. The progress is outside the element that is read out, which would never end. */
  show() {
    const indicator = byId("server");
    const share = el("span", { class: "share", "aria-hidden": "true" });
    indicator.after(share);
    this.addEventListener("change", () => {
      indicator.dataset.state = this.state;
      indicator.title = this.sentence;
      const { word, progress } = this.#seen;
      share.textContent = progress === null ? "" : percent(progress);
      if (indicator.textContent !== word) indicator.replaceChildren(el("span", {}, word));
    });
  }
}

async function ask() {
  let health;
  try {
    const response = await fetch("health", { cache: "no-store", signal: AbortSignal.timeout(5_000) });
    health = await response.json();
  } catch {
    return NO_ANSWER;
  }
  const { state, reason } = health;
  if (state === "ready" && !reason) return { state, word: "Ready", doing: "Ready", detail: "", progress: null };
  if (state === "ready") return { state: "busy", word: "Slow", doing: reason.replace(/\.$/, ""), detail: "", progress: null };
  return { ...doingOf(health), state: state === "failed" || state === "stopped" ? "down" : "busy" };
}
