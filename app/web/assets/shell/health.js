// What the server is doing, asked often while it is down or loading and seldom while it is well.

import { byId, el } from "./dom.js";

const WELL_MS = 10_000;
const UNWELL_MS = 1_000;

/**
 * Watches /health. Dispatches a "change" event whenever `state`, `text` or `progress` are new:
 * state is "unknown", "ready", "busy" (loading, restarting, draining) or "down" (no answer, or failed).
 */
export class ServerHealth extends EventTarget {
  state = "unknown";
  text = "";
  progress = null;
  #timer = 0;

  /** Ask now, and go on asking. */
  async check() {
    clearTimeout(this.#timer);
    const seen = await ask();
    if (seen.state !== this.state || seen.text !== this.text) {
      Object.assign(this, seen);
      this.dispatchEvent(new Event("change"));
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.check(), this.state === "ready" ? WELL_MS : UNWELL_MS);
  }

  /** Resolves as soon as the server is ready; asks at once. Rejects when `signal` aborts. */
  async untilReady(signal) {
    await this.check();
    signal?.throwIfAborted();
    await new Promise((resolve, reject) => {
      const done = () => {
        if (this.state === "ready") resolve();
      };
      this.addEventListener("change", done, { signal });
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      done();
    });
  }

  /** Keep the header's indicator up to date. */
  show() {
    const indicator = byId("server");
    this.addEventListener("change", () => {
      indicator.dataset.state = this.state;
      indicator.title = this.text;
      indicator.replaceChildren(el("span", {}, this.text));
    });
  }
}

async function ask() {
  let health;
  try {
    const response = await fetch("health", { cache: "no-store", signal: AbortSignal.timeout(5_000) });
    health = await response.json();
  } catch {
    return { state: "down", text: "The server does not answer", progress: null };
  }
  const { state, phase, reason, progress } = health;
  if (state === "ready") return { state: reason ? "busy" : "ready", text: reason || "Ready", progress: 1 };
  if (state === "failed" || state === "stopped") return { state: "down", text: reason || "The server has stopped", progress };
  const doing = phase || { restarting: "restarting the engine", draining: "finishing before it stops" }[state] || state;
  const share = progress > 0 ? `: ${Math.round(progress * 100)} %` : "";
  return { state: "busy", text: doing[0].toUpperCase() + doing.slice(1) + share, progress };
}
