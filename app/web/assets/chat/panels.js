// The side panels, which buttons show and hide. On a narrow screen they cover the conversation, one at a time.

import { byId } from "../shell/dom.js";
import { onEscape } from "../shell/escape.js";

const NARROW = matchMedia("(max-width: 60rem)");
const panels = [];

/** A panel. `preferred` says whether it is shown if there is room; `onChoice` is called with the reader's choice. */
export class Panel {
  #button;
  #element;
  #onChoice;

  constructor(button, element, preferred, onChoice = () => {}) {
    this.#button = button;
    this.#element = element;
    this.#onChoice = onChoice;
    this.shown = preferred && !NARROW.matches;
    button.addEventListener("click", () => this.#choose(element.hidden));
    NARROW.addEventListener("change", ({ matches }) => matches && (this.shown = false));
    onEscape(() => this.#close());
    byId("thread").addEventListener("click", () => this.#close());
    panels.push(this);
  }

  set shown(shown) {
    this.#element.hidden = !shown;
    this.#button.setAttribute("aria-expanded", String(shown));
    if (shown && NARROW.matches) for (const other of panels) if (other !== this) other.shown = false;
  }

  /** Close it if it covers the conversation. Returns whether it did. */
  #close() {
    const covers = !this.#element.hidden && NARROW.matches;
    if (covers) this.makeRoom(this.#button);
    return covers;
  }

  /** Something else is to be seen now: if the panel covers it, close the panel and focus `next`. */
  makeRoom(next) {
    if (this.#element.hidden || !NARROW.matches) return;
    this.shown = false;
    next.focus();
  }

  #choose(shown) {
    this.shown = shown;
    if (!NARROW.matches) this.#onChoice(shown);
  }
}
