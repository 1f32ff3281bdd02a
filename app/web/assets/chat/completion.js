// Plain completion: a text, and what the model writes after it, which can become part of the text and go on.

import { copyButton } from "../shell/clipboard.js";
import { byId } from "../shell/dom.js";
import { Answering } from "./answering.js";
import { drawSoon } from "./frames.js";
import { preference } from "./preferences.js";
import { figuresOf, isRunning, newReply } from "./reply.js";
import { COMPLETION_SETTINGS } from "./settings.js";
import { settingsForm } from "./settings_panel.js";
import { figure } from "./reply_view.js";
import { TextView } from "./text_view.js";
import { TokenView } from "./token_view.js";

const NUM_ALTERNATIVES = 5;

export class Completion {
  #settings = preference("completionSettings");
  #reply = null;
  #answering = null;
  #view = null;
  #health;

  constructor(health) {
    this.#health = health;
    const form = settingsForm(COMPLETION_SETTINGS, this.#settings, () => preference("completionSettings", this.#settings));
    byId("completion-settings").append(form);
    byId("completion-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#complete();
    });
    byId("completion-stop").addEventListener("click", () => this.#answering.stop());
    byId("completion-keep").addEventListener("click", () => this.#keep());
    byId("completion-discard").addEventListener("click", () => this.#discard());
    byId("completion-actions").append(copyButton(() => byId("completion-text").value + this.#reply.text, "Copy text and continuation"));
    byId("completion-tokens").addEventListener("click", () => this.#redraw());
    byId("completion-code").addEventListener("change", ({ target }) => byId("completion").classList.toggle("as-code", target.checked));
    byId("completion-text").addEventListener("keydown", (event) => this.#key(event));
    this.#showState();
  }

  #key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#complete();
    }
    if (event.key === "Escape" && this.#isRunning()) this.#answering.stop();
  }

  #isRunning() {
    return this.#reply !== null && isRunning(this.#reply);
  }

  #complete() {
    const prompt = byId("completion-text").value;
    if (!prompt || this.#isRunning()) return;
    const reply = newReply({ ...this.#settings });
    this.#reply = reply;
    const scored = byId("completion-tokens").checked ? { logprobs: NUM_ALTERNATIVES } : {};
    const bodyFor = () => ({ ...reply.settings, ...scored, prompt: prompt + reply.text });
    this.#answering = new Answering(reply, "v1/completions", bodyFor, this.#health);
    this.#answering.addEventListener("change", () => drawSoon(this));
    this.#redraw();
  }

  /** The continuation becomes a part of the text. */
  #keep() {
    byId("completion-text").value += this.#reply.text;
    this.#discard();
    byId("completion-text").focus();
  }

  #discard() {
    this.#reply = null;
    this.#redraw();
  }

  #redraw() {
    this.#view = null;
    byId("completion-output").replaceChildren();
    drawSoon(this);
  }

  /** Called once per frame while there is something new; false if it was too much for one. */
  draw() {
    const reply = this.#reply;
    this.#showState();
    if (!reply) return true;
    const asTokens = byId("completion-tokens").checked && reply.tokens !== null;
    const View = asTokens ? TokenView : TextView;
    if (!(this.#view instanceof View)) {
      this.#view = new View();
      byId("completion-output").replaceChildren(this.#view.element);
    }
    return this.#view.update(asTokens ? reply.tokens : reply.text);
  }

  #showState() {
    const reply = this.#reply;
    const running = this.#isRunning();
    byId("completion-run").hidden = running;
    byId("completion-stop").hidden = !running;
    byId("completion-actions").hidden = running || !reply?.text;
    byId("completion-result").hidden = !reply;
    byId("completion-notice").hidden = !reply?.notice;
    byId("completion-notice").textContent = reply?.notice ?? "";
    byId("completion-figures").replaceChildren(...(reply ? figuresOf(reply).map(figure) : []));
  }
}
