// A reply for screen readers: whole sentences as they are finished, not every token.

import { byId, el } from "../shell/dom.js";

const PAUSE_MS = 2_000;
/** Of what has not been said, the latest of this many characters are: nobody listens to a million. */
const MAX_SPOKEN_LENGTH = 2_000;
const MAX_KEPT_SENTENCES = 10;

export class SpokenText {
  #said = 0;
  #at = -Infinity;

  constructor(label) {
    this.label = label;
  }

  /** The text has begun anew. */
  restart() {
    this.#said = 0;
  }

  /** Say the sentences of `text` that are finished and were not said yet. */
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

  /** The reply is in another state: say the rest of what has come, and what became of it. */
  entered({ text, state, notice }) {
    const how = { done: "End of the answer.", stopped: "Stopped.", waiting: "", streaming: "" }[state] ?? notice;
    if (!how) return;
    this.#say(`${this.#unsaid(text)} ${how}`);
    this.#said = text.length;
  }

  #unsaid(text) {
    return text.slice(Math.max(this.#said, text.length - MAX_SPOKEN_LENGTH));
  }

  /** Appended, not replaced: what was not read out yet would be lost. */
  #say(text) {
    const spoken = byId("spoken");
    spoken.append(el("p", {}, this.label ? `${this.label}: ${text}` : text));
    while (spoken.childElementCount > MAX_KEPT_SENTENCES) spoken.firstElementChild.remove();
  }
}
