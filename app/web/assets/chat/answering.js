// A reply being made: streamed, interrupted, taken up again when the server is back, and ended by its reader at any time.

import { ConnectionLost, generate } from "./generation.js";
import { addChunk, forgetWhatCannotGoOn, numTokensOf } from "./reply.js";

const MAX_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 250;

/**
 * Fills `reply` from `path`. `bodyFor(numMade)` is the request for what is still missing of it, of which this many tokens
 * came since this began. Dispatches "change" as often as something came; draw with measure; and "anew" when what has come
 * was forgotten.
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
    let atFirst = numTokensOf(reply);
    try {
      for (let attempt = 1; ; attempt++) {
        if (forgetWhatCannotGoOn(reply)) {
          atFirst = 0;
          this.dispatchEvent(new Event("anew"));
        }
        const before = reply.text.length;
        try {
          await this.#stream(path, bodyFor(numTokensOf(reply) - atFirst));
          this.#enter("done");
          return;
        } catch (error) {
          if (reply.text.length > before) attempt = 1;
          if (!error.passing || attempt >= MAX_ATTEMPTS) throw error;
          await this.#recover(error, health, FIRST_PAUSE_MS * 2 ** (attempt - 1));
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
    const numBefore = numTokensOf(reply);
    let first = 0;
    for await (const chunk of generate(path, body, this.#abort.signal)) {
      if (!addChunk(reply, chunk, numBefore)) continue;
      const now = performance.now();
      if (first) reply.seconds.generating += (now - this.#last) / 1000;
      else first = now;
      this.#last = now;
      reply.seconds.toFirst ??= (first - asked) / 1000;
      this.#enter("streaming");
    }
  }

  /** Say what is the matter, wait until the server is ready, and let the next attempt go on from there. */
  async #recover(error, health, pause) {
    const { signal } = this.#abort;
    const told = () => this.#enter("recovering", noticeOf(error, this.reply, health));
    health.addEventListener("change", told, { signal });
    told();
    try {
      await sleep(Math.max(pause, error.retryAfter * 1000), signal);
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

function noticeOf(error, reply, health) {
  if (error.retryAfter) return `${error.message} Trying again in ${error.retryAfter} s.`;
  if (health.state === "ready" && !(error instanceof ConnectionLost)) return `${error.message} Trying again.`;
  const kept = reply.text ? "What has come is kept, and goes on when the server is back." : "It is asked again when it is back.";
  return `${error.message} ${kept} ${health.state === "ready" ? "" : health.sentence}`;
}

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
