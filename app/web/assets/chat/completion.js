// Plain completion: a text and the model's continuation, which can be added to the text and continued in turn.

import { copyButton } from "../shell/clipboard.js";
import { byId } from "../shell/dom.js";
import { onEscape } from "../shell/escape.js";
import { Answering } from "./answering.js";
import { drawSoon } from "./frames.js";
import { preference } from "./preferences.js";
import { figuresOf, isRunning, newReply, settingsForTheRest } from "./reply.js";
import { COMPLETION_SETTINGS } from "./settings.js";
import { settingsForm } from "./settings_panel.js";
import { figure } from "./reply_view.js";
import { SpokenText } from "./spoken_text.js";
import { TextView } from "./text_view.js";
import { TokenView } from "./token_view.js";

const NUM_ALTERNATIVES = 5;
const TEXT = "millrace.completion";

export class Completion {
  #settings = preference("completionSettings");
  #reply = null;
  #answering = null;
  #view = null;
  #spoken = null;
  #shown = "";
  #health;

  constructor(health) {
    this.#health = health;
    const form = settingsForm(COMPLETION_SETTINGS, this.#settings, () => preference("completionSettings", this.#settings));
    byId("completion-settings").append(form);
    byId("completion-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#complete();
    });
    byId("completion-stop").addEventListener("click", () => this.#stop());
    byId("completion-keep").addEventListener("click", () => this.#keep());
    byId("completion-discard").addEventListener("click", () => this.#discard());
    byId("completion-actions").append(copyButton(() => byId("completion-text").value + this.#reply.text, "Copy text and continuation"));
    byId("completion-tokens").addEventListener("click", () => this.#redraw());
    byId("completion-code").addEventListener("change", ({ target }) => byId("completion").classList.toggle("as-code", target.checked));
    byId("completion-text").addEventListener("keydown", (event) => this.#key(event));
    byId("completion-text").value = sessionStorage.getItem(TEXT) ?? "";
    addEventListener("pagehide", () => sessionStorage.setItem(TEXT, byId("completion-text").value));
    onEscape(() => this.#stop());
    this.#showState();
  }

  #key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#complete();
    }
  }

  /** Returns whether there was something to stop. */
  #stop() {
    const stops = this.#isRunning() && !byId("completion").hidden;
    if (stops) this.#answering.stop();
    return stops;
  }

  #isRunning() {
    return this.#reply !== null && isRunning(this.#reply);
  }

  #complete() {
    const prompt = byId("completion-text").value;
    if (!prompt || this.#isRunning()) return;
    const reply = newReply({ ...this.#settings });
    this.#reply = reply;
    this.#spoken = new SpokenText("");
    const scored = byId("completion-tokens").checked ? { logprobs: NUM_ALTERNATIVES } : {};
    const bodyFor = (numMade) => ({ ...settingsForTheRest(reply.settings, numMade), ...scored, prompt: prompt + reply.text });
    this.#answering = new Answering(reply, "v1/completions", bodyFor, this.#health);
    this.#answering.addEventListener("change", () => drawSoon(this));
    this.#redraw();
  }

  /** Append the continuation to the text. */
  #keep() {
    byId("completion-text").value += this.#reply.text;
    this.#discard();
  }

  #discard() {
    this.#reply = null;
    this.#redraw();
    byId("completion-text").focus();
  }

  #redraw() {
    this.#view = null;
    byId("completion-output").replaceChildren();
    drawSoon(this);
  }

  /** Called once per frame while there is something new. Returns false if the time until `deadline` was too short. */
  draw(deadline) {
    const reply = this.#reply;
    this.#showState();
    if (!reply) return true;
    if (reply.state !== this.#shown) this.#spoken.entered(reply);
    else if (isRunning(reply)) this.#spoken.update(reply.text);
    this.#shown = reply.state;
    const asTokens = byId("completion-tokens").checked && reply.tokens !== null;
    const View = asTokens ? TokenView : TextView;
    if (!(this.#view instanceof View)) {
      this.#view = new View();
      byId("completion-output").replaceChildren(this.#view.element);
    }
    return this.#view.update(asTokens ? reply.tokens : reply.text, deadline);
  }

  #showState() {
    const reply = this.#reply;
    const running = this.#isRunning();
    const [run, stop] = [byId("completion-run"), byId("completion-stop")];
    const wasFocused = [run, stop].includes(document.activeElement);
    run.hidden = running;
    stop.hidden = !running;
    if (wasFocused) (running ? stop : run).focus();
    byId("completion-actions").hidden = running || !reply?.text;
    byId("completion-result").hidden = !reply;
    byId("completion-notice").hidden = !reply?.notice;
    byId("completion-notice").textContent = reply?.notice ?? "";
    byId("completion-figures").replaceChildren(...(reply ? figuresOf(reply).map(figure) : []));
  }
}
