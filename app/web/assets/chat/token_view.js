// A reply token by token, coloured by probability, with each token's alternatives on hover and focus.

import { el } from "../shell/dom.js";
import { tokenDetails, withText } from "./token_details.js";

const PER_FRAME = 120;
/** Adding a token lays out its whole block again, so blocks are short. */
const MAX_BLOCK_TOKENS = 200;
const MAX_SHOWN_TOKENS = 4_000;
const SURENESS = [0.9, 0.7, 0.5, 0.3, 0.1];
const LEGEND = ["90 % or more", "70 %", "50 %", "30 %", "10 %", "less"];

/** A view of `reply.tokens`, in `element`. */
export class TokenView {
  element = el("div", { class: "token-view" });
  #tokens = [];
  #spans = [];
  #block = null;
  #numInBlock = 0;
  #text = el("div", { class: "tokens", dir: "auto", role: "group", "aria-label": "Tokens; arrow keys move between them" });
  #more = el("p", { class: "token-more" });

  constructor() {
    const legend = LEGEND.map((label, level) => el("span", { class: `sure-${level}` }, label));
    this.element.append(el("p", { class: "token-legend" }, "Probability of the token: ", ...legend), this.#text, this.#more);
    this.#text.addEventListener("pointerover", ({ target }) => this.#show(target));
    this.#text.addEventListener("pointerleave", () => tokenDetails.hide());
    this.#text.addEventListener("focusin", ({ target }) => this.#show(target));
    this.#text.addEventListener("focusout", () => tokenDetails.hide());
    this.#text.addEventListener("keydown", (event) => this.#move(event));
  }

  /** Show the new tokens. Returns false if the time until `deadline` is too short for this or for their layout. */
  update(tokens, deadline) {
    this.#tokens = tokens;
    const end = Math.min(tokens.length, MAX_SHOWN_TOKENS);
    const until = Math.min(end, this.#spans.length + PER_FRAME);
    while (this.#spans.length < until && performance.now() < deadline) this.#append(tokens[this.#spans.length]);
    if (tokens.length > MAX_SHOWN_TOKENS) {
      this.#more.textContent = `The first ${MAX_SHOWN_TOKENS.toLocaleString("en")} of ${tokens.length.toLocaleString("en")} tokens.`;
    }
    return this.#spans.length === end;
  }

  /** A block ends after a line break, or before a word once it is long. */
  #append(token) {
    const [text] = token;
    const last = this.#tokens[this.#spans.length - 1]?.[0] ?? "";
    const isLong = this.#numInBlock >= MAX_BLOCK_TOKENS && (/^\s/.test(text) || this.#numInBlock >= 2 * MAX_BLOCK_TOKENS);
    if (!this.#block || last.endsWith("\n") || isLong) {
      this.#block = this.#text.appendChild(el("div", { dir: "auto" }));
      this.#numInBlock = 0;
    }
    const span = tokenSpan(token, this.#spans.length);
    this.#block.append(span);
    this.#numInBlock += 1;
    this.#spans.push(span);
  }

  #show(target) {
    const span = target.closest(".token");
    if (!span) return;
    this.#text.querySelector("[tabindex='0']").tabIndex = -1;
    span.tabIndex = 0;
    tokenDetails.show(this.#tokens[Number(span.dataset.index)], span);
  }

  #move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape" && tokenDetails.hide()) event.preventDefault();
    if (!step) return;
    event.preventDefault();
    this.#spans[Number(event.target.dataset.index) + step]?.focus();
  }
}

function tokenSpan([text, logprob], index) {
  const level = logprob === null ? "none" : SURENESS.findIndex((least) => Math.exp(logprob) >= least);
  const name = level === -1 ? SURENESS.length : level;
  const tabIndex = index === 0 ? 0 : -1;
  const properties = { class: `token sure-${name}`, "data-index": String(index), tabIndex, role: "button" };
  return withText(el("span", properties), text);
}
