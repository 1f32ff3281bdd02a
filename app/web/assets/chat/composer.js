// Where a prompt is written: Enter sends, Shift+Enter breaks the line, Esc stops, ↑ in an empty field edits the last.

import { byId } from "../shell/dom.js";
import { onEscape } from "../shell/escape.js";

/** Dispatches "send" with `detail` the text, "stop" and "edit". */
export class Composer extends EventTarget {
  #field = byId("prompt");
  #running = false;

  constructor() {
    super();
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    byId("stop").addEventListener("click", () => this.#tell("stop"));
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    onEscape(() => {
      const stops = this.#running && !byId("chat").hidden;
      if (stops) this.#tell("stop");
      return stops;
    });
  }

  /** Whether something is being answered: then it can be stopped, and nothing sent. */
  set running(running) {
    const wasFocused = document.activeElement === byId(this.#running ? "stop" : "send");
    this.#running = running;
    byId("send").hidden = running;
    byId("stop").hidden = !running;
    if (wasFocused) byId(running ? "stop" : "send").focus();
  }

  focus() {
    this.#field.focus();
  }

  /** What could not be sent comes back, before what has been written since. */
  giveBack(text) {
    this.#field.value = [text, this.#field.value].filter(Boolean).join("\n");
  }

  #key(event) {
    const { key, shiftKey, isComposing } = event;
    if (key === "Enter" && !shiftKey && !isComposing) {
      event.preventDefault();
      this.#send();
    }
    if (key === "ArrowUp" && this.#field.value === "") {
      event.preventDefault();
      this.#tell("edit");
    }
  }

  #send() {
    const text = this.#field.value;
    if (this.#running || !text.trim()) return;
    this.#field.value = "";
    this.#tell("send", text);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
