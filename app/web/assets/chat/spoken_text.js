// A reply for screen readers: whole sentences as they are finished, not every token.

import { byId } from "../shell/dom.js";

const PAUSE_MS = 2_000;

export class SpokenText {
  #said = 0;
  #at = 0;

  constructor(label) {
    this.label = label;
  }

  /** Say the sentences of `text` that are finished and were not said yet. */
  update(text) {
    const now = performance.now();
    if (now - this.#at < PAUSE_MS) return;
    const recent = text.slice(this.#said);
    const end = Math.max(recent.lastIndexOf(". "), recent.lastIndexOf("\n"), recent.lastIndexOf("? "), recent.lastIndexOf("! "));
    if (end < 0) return;
    this.#at = now;
    this.#said += end + 1;
    this.#say(recent.slice(0, end + 1));
  }

  /** The reply is in another state: say the rest of what has come, and what became of it. */
  entered({ text, state, notice }) {
    const how = { done: "End of the answer.", stopped: "Stopped.", waiting: "", streaming: "" }[state] ?? notice;
    if (!how) return;
    this.#say(`${text.slice(this.#said)} ${how}`);
    this.#said = text.length;
  }

  #say(text) {
    byId("spoken").textContent = this.label ? `${this.label}: ${text}` : text;
  }
}
