// The field for prompts: Enter sends, Shift+Enter inserts a line break, Esc stops, ↑ in an empty field edits the last one.

import { byId } from "../shell/dom.js";
import { onEscape } from "../shell/escape.js";

/** Dispatches "send" with the text as `detail`, "stop" and "edit". */
export class Composer extends EventTarget {
  #field = byId("prompt");
  #running = false;

  constructor() {
    super();
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    byId("stop").addEventListener("click", () => this.#emit("stop"));
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    onEscape(() => {
      const stops = this.#running && !byId("chat").hidden;
      if (stops) this.#emit("stop");
      return stops;
    });
  }

  /** Whether an answer is being generated: then it can be stopped, and nothing can be sent. */
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

  /** Put a text that could not be sent back into the field, before what has been written since. */
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
      this.#emit("edit");
    }
  }

  #send() {
    const text = this.#field.value;
    if (this.#running || !text.trim()) return;
    this.#field.value = "";
    this.#emit("send", text);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
