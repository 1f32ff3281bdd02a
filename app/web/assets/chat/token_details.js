// The probabilities of one token and its alternatives, in a box next to it.

import { byId, el } from "../shell/dom.js";
import { appendText } from "./markdown/inline.js";

const DISTANCE = 6;
const MARGIN = 8;

class TokenDetails {
  #box = el("div", { class: "token-details", id: "token-details", role: "tooltip" });
  #token = null;

  constructor() {
    // Code that removes a token need not know that its details are shown.
    document.addEventListener("pointerover", () => this.#token && !this.#token.isConnected && this.hide());
  }

  /** Show the probabilities of `token`, in the form of a reply's tokens, next to `element`. */
  show(token, element) {
    this.#token?.removeAttribute("aria-describedby");
    this.#token = element;
    byId("main").append(this.#box);
    this.#box.replaceChildren(...rowsOf(token));
    element.setAttribute("aria-describedby", this.#box.id);
    const at = element.getBoundingClientRect();
    const size = this.#box.getBoundingClientRect();
    const below = at.bottom + DISTANCE + size.height < innerHeight;
    this.#box.style.left = `${Math.max(MARGIN, Math.min(at.left, innerWidth - size.width - MARGIN))}px`;
    this.#box.style.top = `${below ? at.bottom + DISTANCE : Math.max(MARGIN, at.top - size.height - DISTANCE)}px`;
  }

  /** Returns whether they were shown. */
  hide() {
    const wasShown = this.#box.isConnected;
    this.#box.remove();
    this.#token?.removeAttribute("aria-describedby");
    this.#token = null;
    return wasShown;
  }
}

export const tokenDetails = new TokenDetails();

function rowsOf([text, logprob, alternatives]) {
  if (logprob === null) return [el("p", {}, "The first token of a prompt has no probability.")];
  const others = alternatives.filter(([other]) => other !== text);
  const choices = [[text, logprob], ...others].sort((a, b) => b[1] - a[1]);
  const rows = choices.map(([other, logged]) => row(other, Math.exp(logged), other === text));
  const rest = 1 - choices.reduce((sum, [, logged]) => sum + Math.exp(logged), 0);
  return rest > 0.0005 ? [...rows, row("all others", rest, false, "rest")] : rows;
}

function row(label, probability, chosen, kind = "") {
  const bar = el("span", { class: "bar" });
  bar.style.width = `${Math.min(100, probability * 100)}%`;
  return el(
    "div",
    { class: `alternative ${kind}${chosen ? " chosen" : ""}`, "data-probability": String(probability) },
    withText(el("span", { class: "alternative-text" }), label.replaceAll("\n", "↵")),
    el("span", { class: "bar-track" }, bar),
    el("span", { class: "alternative-share" }, share(probability)),
  );
}

function share(probability) {
  const percent = probability * 100;
  return percent >= 0.1 ? `${percent.toFixed(1)} %` : "< 0.1 %";
}

/** White space must be visible to be pointed at. The line break after a token that ends a line is that of its block. */
export function withText(element, text) {
  const isSpace = /^\s+$/.test(text);
  const seen = isSpace ? text.replaceAll(" ", "·").replaceAll("\n", "↵\n").replaceAll("\t", "⇥") : text;
  appendText(element, seen.replace(/\n$/, "") || "∅");
  return element;
}
