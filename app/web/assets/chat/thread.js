// The turns of a conversation, built incrementally, and scrolling that follows new text.

import { byId } from "../shell/dom.js";
import { drawSoon } from "./frames.js";
import { TurnView } from "./turn_view.js";

const NEAR_THE_END = 60;

/** `actions` has `edit(turn, prompt)`, `regenerate(turn, lane)` and `goOn(turn, lane)`. */
export class Thread {
  #scroller = byId("thread");
  #place = byId("turns");
  #views = [];
  #follows = true;
  #actions;
  #conversation = null;
  #showsTokens = false;

  constructor(actions) {
    this.#actions = actions;
    this.#scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
      this.#follows = scrollHeight - scrollTop - clientHeight < NEAR_THE_END;
    });
    // After the layout of the frame: reading the height while drawing would force another layout for each view.
    const sizes = new ResizeObserver(() => this.#follows && this.#toTheEnd());
    sizes.observe(this.#place);
    sizes.observe(this.#scroller);
  }

  /** Show `conversation` as it is now. */
  show(conversation) {
    const known = conversation === this.#conversation ? this.#views : [];
    this.#views = conversation.turns.map(
      (turn) => known.find((view) => view.shows(turn)) ?? new TurnView(turn, this.#actions, this.#showsTokens),
    );
    const elements = new Set(this.#views.map(({ element }) => element));
    for (const element of [...this.#place.children]) if (!elements.has(element)) element.remove();
    this.#place.append(...[...elements].filter((element) => !element.isConnected));
    byId("welcome").hidden = conversation.turns.length > 0;
    if (conversation !== this.#conversation || !known.includes(this.#views.at(-1))) this.#toTheEnd();
    this.#conversation = conversation;
  }

  /** A reply has changed: draw it in the next frame if it is shown. */
  changed(reply) {
    const view = this.#viewOf(reply);
    if (view) drawSoon(view);
  }

  /** The content of a reply was discarded. */
  anew(reply) {
    this.#viewOf(reply)?.anew();
  }

  /** Replace the last prompt with a field to edit it. */
  editLast() {
    this.#views.at(-1)?.edit();
  }

  set showsTokens(shows) {
    this.#showsTokens = shows;
    for (const view of this.#views) view.replies.forEach((reply) => (reply.showsTokens = shows));
  }

  /** Move the focus here from a button that has disappeared. */
  focus() {
    this.#scroller.focus({ preventScroll: true });
  }

  #viewOf(reply) {
    return this.#views.flatMap(({ replies }) => replies).findLast((view) => view.reply === reply);
  }

  #toTheEnd() {
    this.#follows = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}
