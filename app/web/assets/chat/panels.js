// The panels beside the conversation, shown and hidden by buttons. On a narrow screen they lie over it, one at a time.

import { byId } from "../shell/dom.js";
import { onEscape } from "../shell/escape.js";

const NARROW = matchMedia("(max-width: 60rem)");
const panels = [];

/** A panel of which `preferred` says whether it is shown where there is room; `onChoice` hears what the reader wants. */
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

  /** Take it away if it lies over the rest; gives whether it did. */
  #close() {
    const covers = !this.#element.hidden && NARROW.matches;
    if (covers) this.makeRoom(this.#button);
    return covers;
  }

  /** Something else is to be seen now: where the panel lies over it, it goes, and `next` has the focus. */
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
