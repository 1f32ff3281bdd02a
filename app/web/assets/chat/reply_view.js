// The view of a reply: its parts or its tokens, problems, figures, and actions.

import { copyButton } from "../shell/clipboard.js";
import { el } from "../shell/dom.js";
import { iconButton } from "../shell/icons.js";
import { drawSoon } from "./frames.js";
import { figuresOf, isRunning } from "./reply.js";
import { SegmentView } from "./segment_view.js";
import { Segments } from "./segments.js";
import { SpokenText } from "./spoken_text.js";
import { TokenView } from "./token_view.js";

const FIGURES_MS = 200;

/**
 * A view of `reply`, in `element`. `actions` has `regenerate()` and `goOn()`; `label` distinguishes it from another reply.
 * Call drawSoon with it when the reply has changed.
 */
export class ReplyView {
  #body = el("div", { class: "reply-body" });
  #notice = el("p", { class: "notice" });
  #figures = el("ul", { class: "figures", "aria-label": "Figures of this answer" });
  #parts = new Segments();
  #segments = [];
  #tokens = null;
  #showsTokens;
  #shown = { state: "", at: 0 };

  constructor(reply, actions, { label = "", showsTokens = false } = {}) {
    this.reply = reply;
    this.#showsTokens = showsTokens;
    this.spoken = new SpokenText(label);
    this.copy = copyButton(() => reply.text, "Copy answer");
    this.regenerate = iconButton("refresh", "Regenerate", actions.regenerate);
    this.goOn = iconButton("continue", "Continue", actions.goOn);
    this.tokensToggle = iconButton("tokens", "Show tokens", () => (this.showsTokens = !this.#showsTokens));
    const actionsBar = el("div", { class: "reply-actions" }, this.copy, this.regenerate, this.goOn, this.tokensToggle);
    const heading = el("h2", { class: label ? "lane" : "visually-hidden" }, label || "Answer");
    const footer = el("footer", { class: "reply-footer" }, this.#figures, actionsBar);
    const name = label ? `Answer ${label}` : "Answer";
    this.element = el("article", { class: "reply", "aria-label": name }, heading, this.#body, this.#notice, footer);
    drawSoon(this);
  }

  /** Whether the reply is shown token by token, if its tokens are known. */
  set showsTokens(shows) {
    this.#showsTokens = shows;
    this.#restart();
  }

  /** The content of the reply was discarded. */
  anew() {
    this.spoken.restart();
    this.#restart();
  }

  #restart() {
    this.#parts = new Segments();
    this.#segments = [];
    this.#tokens = null;
    this.#body.replaceChildren();
    this.#shown = { state: this.#shown.state, at: 0 };
    drawSoon(this);
  }

  /** Returns false if the time until `deadline` was too short. */
  draw(deadline) {
    const { reply } = this;
    const drawn = this.#showsTokens && reply.tokens ? this.#drawTokens(deadline) : this.#drawSegments(deadline);
    const due = !isRunning(reply) || performance.now() - this.#shown.at > FIGURES_MS;
    if (reply.state !== this.#shown.state || due) this.#drawState();
    if (isRunning(reply)) this.spoken.update(reply.text);
    return drawn;
  }

  #drawSegments(deadline) {
    const { reply } = this;
    const segments = this.#parts.of(reply.text);
    if (reply.reasoning) segments.unshift({ kind: "reasoning", text: reply.reasoning, open: !reply.text });
    for (const call of reply.toolCalls) segments.push({ kind: "tool", call, text: "", open: isRunning(reply) });
    let drawn = true;
    segments.forEach((segment, index) => {
      const complete = !segment.open || !isRunning(reply);
      if (this.#segments[index]?.kind !== segment.kind) this.#replaceFrom(index, segment);
      const isAll = segments.length === 1;
      drawn = this.#segments[index].update(segment, { complete, isAll, deadline }) && drawn;
    });
    return drawn;
  }

  /** A part is new, or turned out to be of another kind. */
  #replaceFrom(index, segment) {
    for (const view of this.#segments.splice(index)) view.element.remove();
    this.#segments[index] = new SegmentView(segment.kind);
    this.#body.append(this.#segments[index].element);
  }

  #drawTokens(deadline) {
    if (!this.#tokens) {
      this.#tokens = new TokenView();
      this.#body.replaceChildren(this.#tokens.element);
    }
    return this.#tokens.update(this.reply.tokens, deadline);
  }

  #drawState() {
    const { reply } = this;
    const running = isRunning(reply);
    if (this.#shown.state && this.#shown.state !== reply.state) this.spoken.entered(reply);
    this.#shown = { state: reply.state, at: performance.now() };
    this.element.dataset.state = reply.state;
    this.element.setAttribute("aria-busy", String(running));
    this.#notice.textContent = reply.notice;
    this.#notice.hidden = !reply.notice;
    this.#figures.replaceChildren(...figuresOf(reply).map(figure));
    this.copy.hidden = this.regenerate.hidden = running;
    this.goOn.hidden = running || !reply.text || (reply.state === "done" && reply.finishReason !== "length");
    this.tokensToggle.hidden = !reply.tokens;
    this.tokensToggle.setAttribute("aria-pressed", String(this.#showsTokens));
  }
}

/** One of `figuresOf` as a list item. */
export function figure([label, value, explanation]) {
  return el("li", { title: explanation }, el("span", { class: "figure-value" }, value), ` ${label}`);
}
