// A reply being made: streamed, interrupted, taken up again when the server is back, and ended by its reader at any time.

import { generate } from "./generation.js";
import { addChunk } from "./reply.js";

const MOST_ATTEMPTS = 5;

/**
 * Fills `reply` from `path`. `bodyFor(reply)` is the request for what is still missing of it, which is more than the
 * beginning when an interrupted reply goes on. Dispatches "change" as often as something came; draw with measure.
 */
export class Answering extends EventTarget {
  #abort = new AbortController();
  #last = 0;

  constructor(reply, path, bodyFor, health) {
    super();
    this.reply = reply;
    this.ended = this.#run(path, bodyFor, health);
  }

  stop() {
    this.#abort.abort();
  }

  async #run(path, bodyFor, health) {
    const { reply } = this;
    try {
      for (let attempt = 1; ; attempt++) {
        const before = reply.text.length;
        try {
          await this.#stream(path, bodyFor(reply));
          this.#enter("done");
          return;
        } catch (error) {
          if (reply.text.length > before) attempt = 1;
          if (!error.passing || attempt >= MOST_ATTEMPTS) throw error;
          await this.#recover(error, health);
        }
      }
    } catch (error) {
      if (this.#abort.signal.aborted) this.#enter("stopped");
      else this.#enter(reply.text ? "interrupted" : "failed", error.message);
    }
  }

  async #stream(path, body) {
    const { reply } = this;
    const asked = performance.now();
    let first = 0;
    for await (const chunk of generate(path, body, this.#abort.signal)) {
      if (!addChunk(reply, chunk)) continue;
      const now = performance.now();
      if (first) reply.seconds.generating += (now - this.#last) / 1000;
      else first = now;
      this.#last = now;
      reply.seconds.toFirst ??= (first - asked) / 1000;
      this.#enter("streaming");
    }
  }

  /** Say what is the matter, wait until the server is ready, and let the next attempt go on from there. */
  async #recover(error, health) {
    const { signal } = this.#abort;
    const told = () => this.#enter("recovering", `${error.message} ${waitingFor(health)}`);
    health.addEventListener("change", told, { signal });
    told();
    try {
      if (error.retryAfter) await sleep(error.retryAfter * 1000, signal);
      await health.untilReady(signal);
    } finally {
      health.removeEventListener("change", told);
    }
    this.#enter("waiting");
  }

  #enter(state, notice = "") {
    this.reply.state = state;
    this.reply.notice = notice;
    this.dispatchEvent(new Event("change"));
  }
}

function waitingFor(health) {
  if (health.state === "ready") return "Trying again.";
  return `Waiting for the server, to go on from here. ${health.text}.`;
}

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
