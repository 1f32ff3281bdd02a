// A reply for screen readers: complete sentences, not single tokens.

import { byId, el } from "../shell/dom.js";

const PAUSE_MS = 2_000;
/** At most this many of the latest unspoken characters are spoken: nobody listens to a million. */
const MAX_SPOKEN_LENGTH = 2_000;
const MAX_KEPT_SENTENCES = 10;

export class SpokenText {
  #said = 0;
  #at = -Infinity;

  constructor(label) {
    this.label = label;
  }

  /** The text starts again from the beginning. */
  restart() {
    this.#said = 0;
  }

  /** Speak the complete sentences of `text` that have not been spoken yet. */
  update(text) {
    const now = performance.now();
    if (now - this.#at < PAUSE_MS) return;
    const recent = this.#unsaid(text);
    const end = Math.max(...[". ", "\n", "? ", "! "].map((mark) => recent.lastIndexOf(mark)));
    if (end < 0) return;
    this.#at = now;
    this.#said = text.length - recent.length + end + 1;
    this.#say(recent.slice(0, end + 1));
  }

  /** The state of the reply has changed: speak the rest of the text, and the new state. */
  entered({ text, state, notice }) {
    const how = { done: "End of the answer.", stopped: "Stopped.", waiting: "", streaming: "" }[state] ?? notice;
    if (!how) return;
    this.#say(`${this.#unsaid(text)} ${how}`);
    this.#said = text.length;
  }

  #unsaid(text) {
    return text.slice(Math.max(this.#said, text.length - MAX_SPOKEN_LENGTH));
  }

  /** Appends instead of replacing, so that text that has not been read out is not lost. */
  #say(text) {
    const spoken = byId("spoken");
    spoken.append(el("p", {}, this.label ? `${this.label}: ${text}` : text));
    while (spoken.childElementCount > MAX_KEPT_SENTENCES) spoken.firstElementChild.remove();
  }
}
