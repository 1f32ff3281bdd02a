// A reply token by token, coloured by how sure the model was; one token's alternatives beside it on hover and focus.

import { el } from "../shell/dom.js";

const PER_FRAME = 120;
const MOST_SHOWN = 4_000;
const SURENESS = [0.9, 0.7, 0.5, 0.3, 0.1];
const LEGEND = ["90 % or more", "70 %", "50 %", "30 %", "10 %", "less"];

/** A view of `reply.tokens`, in `element`. */
export class TokenView {
  element = el("div", { class: "token-view" });
  #tokens = [];
  #text = el("div", { class: "tokens", dir: "auto", role: "group", "aria-label": "Tokens; arrow keys move between them" });
  #details = new TokenDetails();
  #more = el("p", { class: "token-more" });

  constructor() {
    const legend = LEGEND.map((label, level) => el("span", { class: `sure-${level}` }, label));
    this.element.append(el("p", { class: "token-legend" }, "Probability of the token: ", ...legend), this.#text, this.#more);
    this.#text.addEventListener("pointerover", ({ target }) => this.#show(target));
    this.#text.addEventListener("pointerleave", () => this.#details.hide());
    this.#text.addEventListener("focusin", ({ target }) => this.#show(target));
    this.#text.addEventListener("focusout", () => this.#details.hide());
    this.#text.addEventListener("keydown", (event) => this.#move(event));
  }

  /** Show what `tokens` has more than it had; false if that is too much for one frame. */
  update(tokens) {
    this.#tokens = tokens;
    const end = Math.min(tokens.length, MOST_SHOWN);
    const from = this.#text.childElementCount;
    const until = Math.min(end, from + PER_FRAME);
    const spans = tokens.slice(from, until).map((token, offset) => tokenSpan(token, from + offset));
    this.#text.append(...spans);
    if (tokens.length > MOST_SHOWN) {
      this.#more.textContent = `The first ${MOST_SHOWN.toLocaleString("en")} of ${tokens.length.toLocaleString("en")} tokens.`;
    }
    return until === end;
  }

  #show(span) {
    if (!span.dataset.index) return;
    this.#text.querySelector("[tabindex='0']").tabIndex = -1;
    span.tabIndex = 0;
    this.#details.show(this.#tokens[Number(span.dataset.index)], span);
  }

  #move(event) {
    const step = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
    if (event.key === "Escape") this.#details.hide();
    if (!step) return;
    event.preventDefault();
    event.target[step]?.focus();
  }
}

function tokenSpan([text, logprob], index) {
  const level = logprob === null ? "none" : SURENESS.findIndex((least) => Math.exp(logprob) >= least);
  const name = level === -1 ? SURENESS.length : level;
  const tabIndex = index === 0 ? 0 : -1;
  const properties = { class: `token sure-${name}`, "data-index": String(index), tabIndex, role: "button" };
  return el("span", properties, visible(text));
}

/** White space has to be seen to be pointed at. */
function visible(text) {
  if (text === "") return "∅";
  return /^\s+$/.test(text) ? text.replaceAll(" ", "·").replaceAll("\n", "↵\n").replaceAll("\t", "⇥") : text;
}

/** The probabilities of one token and of what else could have stood there, in a box beside it. */
class TokenDetails {
  #box = el("div", { class: "token-details", id: `token-details-${TokenDetails.number++}`, role: "tooltip", hidden: true });
  static number = 0;

  show([text, logprob, alternatives], span) {
    document.body.append(this.#box);
    this.#box.replaceChildren(...rowsOf(text, logprob, alternatives));
    this.#box.hidden = false;
    span.setAttribute("aria-describedby", this.#box.id);
    const at = span.getBoundingClientRect();
    const size = this.#box.getBoundingClientRect();
    const below = at.bottom + 6 + size.height < innerHeight;
    this.#box.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
    this.#box.style.top = `${below ? at.bottom + 6 : Math.max(8, at.top - size.height - 6)}px`;
  }

  hide() {
    this.#box.hidden = true;
    this.#box.remove();
  }
}

function rowsOf(text, logprob, alternatives) {
  if (logprob === null) return [el("p", {}, "The first token of a prompt has no probability.")];
  const others = alternatives.filter(([other]) => other !== text);
  const choices = [[text, logprob], ...others].sort((a, b) => b[1] - a[1]);
  const rows = choices.map(([other, logged]) => row(visible(other), Math.exp(logged), other === text));
  const rest = 1 - choices.reduce((sum, [, logged]) => sum + Math.exp(logged), 0);
  return rest > 0.0005 ? [...rows, row("all others", rest, false, "rest")] : rows;
}

function row(label, probability, chosen, kind = "") {
  const bar = el("span", { class: "bar" });
  bar.style.width = `${Math.min(100, probability * 100)}%`;
  return el(
    "div",
    { class: `alternative ${kind}${chosen ? " chosen" : ""}`, "data-probability": String(probability) },
    el("span", { class: "alternative-text" }, label),
    el("span", { class: "bar-track" }, bar),
    el("span", { class: "alternative-share" }, share(probability)),
  );
}

function share(probability) {
  const percent = probability * 100;
  return percent >= 0.1 ? `${percent.toFixed(1)} %` : "< 0.1 %";
}
