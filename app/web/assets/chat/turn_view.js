// The view of one turn: the prompt, which can be edited, and the reply to it, or two replies side by side.

import { copyButton } from "../shell/clipboard.js";
import { el } from "../shell/dom.js";
import { iconButton } from "../shell/icons.js";
import { ReplyView } from "./reply_view.js";
import { differences } from "./settings.js";

const LANES = ["A", "B"];

/** A view of `turn`, in `element`, with views of its replies; `actions` are those of the thread. */
export class TurnView {
  #turn;
  #actions;
  #prompt;

  constructor(turn, actions, showsTokens) {
    this.#turn = turn;
    this.#actions = actions;
    this.#prompt = this.#shownPrompt();
    this.replies = turn.replies.map((_, lane) => this.#reply(lane, showsTokens));
    const compared = turn.replies.length > 1 ? " compared" : "";
    const replies = el("div", { class: `replies${compared}` }, ...this.replies.map(({ element }) => element));
    this.element = el("section", { class: "turn", "aria-label": "Turn" }, this.#prompt, replies);
  }

  /** Whether this is a view of `turn` as it is now. */
  shows(turn) {
    const same = turn === this.#turn && turn.replies.length === this.replies.length;
    return same && this.replies.every(({ reply }, lane) => reply === turn.replies[lane]);
  }

  /** Replace the prompt with a field to edit it. */
  edit() {
    const field = el("textarea", { class: "field", value: this.#turn.prompt, "aria-label": "Prompt", rows: 3 });
    const send = () => field.value.trim() && this.#actions.edit(this.#turn, field.value);
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || event.shiftKey) return;
      const action = { Escape: () => this.#endEditing(), Enter: send }[event.key];
      if (action) event.preventDefault();
      action?.();
    });
    const buttons = [
      el("button", { class: "button", type: "button", on: { click: () => this.#endEditing() } }, "Cancel"),
      el("button", { class: "button primary", type: "button", on: { click: send } }, "Send again"),
    ];
    this.#replacePrompt(el("div", { class: "prompt editing" }, field, el("div", { class: "dialog-end" }, ...buttons)));
    field.focus();
  }

  #endEditing() {
    this.#replacePrompt(this.#shownPrompt());
    this.#prompt.querySelector("button").focus();
  }

  #replacePrompt(element) {
    this.#prompt.replaceWith(element);
    this.#prompt = element;
  }

  #shownPrompt() {
    const { prompt } = this.#turn;
    const buttons = [
      iconButton("pencil", "Edit and send again", () => this.edit()),
      copyButton(() => prompt, "Copy prompt"),
    ];
    const heading = el("h2", { class: "visually-hidden" }, "You");
    const text = el("div", { class: "prompt-text", dir: "auto" }, prompt);
    return el("div", { class: "prompt" }, heading, text, el("div", { class: "prompt-actions" }, ...buttons));
  }

  #reply(lane, showsTokens) {
    const { replies } = this.#turn;
    const actions = {
      regenerate: () => this.#actions.regenerate(this.#turn, lane),
      goOn: () => this.#actions.goOn(this.#turn, lane),
    };
    const compared = replies.length > 1;
    const differs = compared ? differences(replies[lane].settings, replies[1 - lane].settings) : "";
    const label = compared ? `${LANES[lane]}${differs && ` · ${differs}`}` : "";
    return new ReplyView(replies[lane], actions, { label, showsTokens });
  }
}
