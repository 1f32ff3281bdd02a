// Generating a reply: it is streamed, continued after an interruption once the server is back, and can be stopped.

import { ConnectionLost, generate } from "./generation.js";
import { addChunk, forgetWhatCannotGoOn, numTokensOf } from "./reply.js";

const MAX_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 250;

/**
 * Fills `reply` from `path`. `bodyFor(numMade)` is the request for the rest of it, given the number of tokens that have
 * arrived since this began. Dispatches "change" whenever something arrives, which may be more often than it should be
 * drawn, and "anew" when what had arrived was discarded.
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

  /** Show what is wrong and wait until the server is ready; the next attempt then continues from there. */
  async #recover(error, health, pause) {
    const { signal } = this.#abort;
    const update = () => this.#enter("recovering", noticeOf(error, this.reply, health));
    health.addEventListener("change", update, { signal });
    update();
    try {
      await sleep(Math.max(pause, error.retryAfter * 1000), signal);
      await health.untilReady(signal);
    } finally {
      health.removeEventListener("change", update);
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
  const kept = reply.text ? "The text so far is kept, and continued when the server is back." : "The request is repeated when the server is back.";
  return `${error.message} ${kept} ${health.state === "ready" ? "" : health.sentence}`;
}

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
