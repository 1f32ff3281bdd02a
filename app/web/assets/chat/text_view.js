// Growing plain text, in pieces that the browser lays out separately.

import { el } from "../shell/dom.js";
import { appendText } from "./markdown/inline.js";

const MAX_PIECE_LENGTH = 2_000;
const PIECES_PER_FRAME = 20;

/** A view of one text, in `element`. */
export class TextView {
  #shown = 0;

  constructor(element = el("div", { class: "plain-text", dir: "auto" })) {
    this.element = element;
  }

  /** Show the new part of `text`. Returns false if the time until `deadline` is too short for this or for its layout. */
  update(text, deadline) {
    for (let piece = 0; piece < PIECES_PER_FRAME && this.#shown < text.length && performance.now() < deadline; piece++) {
      const end = this.#endOfPiece(text);
      const span = el("span");
      appendText(span, text.slice(this.#shown, end));
      this.element.append(span);
      this.#shown = end;
    }
    return this.#shown === text.length;
  }

  #endOfPiece(text) {
    const end = Math.min(text.length, this.#shown + MAX_PIECE_LENGTH);
    const last = text.charCodeAt(end - 1);
    return last >= 0xd800 && last < 0xdc00 && end < text.length ? end - 1 : end;
  }
}
