// The turns of a conversation as they are shown, and the scrolling that follows what is written.

import { copyButton } from "../shell/clipboard.js";
import { byId, el } from "../shell/dom.js";
import { iconButton } from "../shell/icons.js";
import { differences } from "./settings.js";
import { drawSoon } from "./frames.js";
import { ReplyView } from "./reply_view.js";

const NEAR_THE_END = 60;
const LANES = ["A", "B"];

/** `actions` has `edit(turn, prompt)`, `regenerate(turn, lane)` and `goOn(turn, lane)`. */
export class Thread {
  #scroller = byId("thread");
  #turns = byId("turns");
  #views = new Map();
  #follows = true;

  constructor(actions) {
    this.actions = actions;
    this.showsTokens = false;
    this.#scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
      this.#follows = scrollHeight - scrollTop - clientHeight < NEAR_THE_END;
    });
  }

  /** Show all of `conversation`. */
  show(conversation) {
    this.conversation = conversation;
    this.#views.clear();
    this.#turns.replaceChildren(...conversation.turns.map((turn) => this.#turn(turn)));
    byId("welcome").hidden = conversation.turns.length > 0;
    this.#follows = true;
  }

  /** A reply has changed: draw it in the next frame, if it is shown. */
  changed(reply) {
    const view = this.#views.get(reply);
    if (view) drawSoon(view);
  }

  /** Put a field in the place of the prompt of `turn`. */
  edit(turn) {
    const element = this.#turns.children[this.conversation.turns.indexOf(turn)];
    element.querySelector(".prompt").replaceWith(this.#promptEditor(turn));
    element.querySelector("textarea").focus();
  }

  #turn(turn) {
    const replies = el("div", { class: "replies" }, ...turn.replies.map((_, lane) => this.#reply(turn, lane)));
    if (turn.replies.length > 1) replies.classList.add("compared");
    return el("section", { class: "turn", "aria-label": "Turn" }, this.#prompt(turn), replies);
  }

  #prompt(turn) {
    const buttons = [
      iconButton("pencil", "Edit and send again", () => this.edit(turn)),
      copyButton(() => turn.prompt, "Copy prompt"),
    ];
    const text = el("div", { class: "prompt-text", dir: "auto" }, turn.prompt);
    return el("div", { class: "prompt" }, el("h3", { class: "visually-hidden" }, "You"), text, el("div", { class: "prompt-actions" }, ...buttons));
  }

  #promptEditor(turn) {
    const field = el("textarea", { class: "field", value: turn.prompt, "aria-label": "Prompt", rows: 3 });
    const cancel = () => editor.replaceWith(this.#prompt(turn));
    const send = () => field.value.trim() && this.actions.edit(turn, field.value);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.preventDefault();
        cancel();
      }
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
      }
    });
    const buttons = [
      el("button", { class: "button", type: "button", on: { click: cancel } }, "Cancel"),
      el("button", { class: "button primary", type: "button", on: { click: send } }, "Send again"),
    ];
    const editor = el("div", { class: "prompt editing" }, field, el("div", { class: "dialog-end" }, ...buttons));
    return editor;
  }

  #reply(turn, lane) {
    const reply = turn.replies[lane];
    const actions = {
      regenerate: () => this.actions.regenerate(turn, lane),
      goOn: () => this.actions.goOn(turn, lane),
    };
    const compared = turn.replies.length > 1;
    const differs = compared ? differences(reply.settings, turn.replies[1 - lane].settings) : "";
    const label = compared ? `${LANES[lane]}${differs && ` · ${differs}`}` : "";
    const view = new ReplyView(reply, actions, { label, showsTokens: this.showsTokens });
    const drawn = { draw: () => this.#drawAndFollow(view) };
    view.onChange = () => drawSoon(drawn);
    this.#views.set(reply, drawn);
    drawSoon(drawn);
    return view.element;
  }

  #drawAndFollow(view) {
    const drawn = view.draw();
    if (this.#follows) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    return drawn;
  }
}
