// What the server is doing while it is not simply at work, and what became of the connection.

import { byId, el } from "../shell/dom.js";

const DOING = { restarting: "Starting the engine again", draining: "Finishing before it stops", stopped: "Stopped" };

export class Banner {
  #text = el("span");
  #bar = el("progress", { max: 1, "aria-label": "Loading", hidden: true });
  #button = el("button", { class: "button", type: "button", hidden: true }, "Enter the key");
  #place = byId("banner");
  #shown = "";

  constructor() {
    this.#place.append(this.#text, this.#bar, this.#button);
  }

  /** The connection is up; `now` says how the server is. */
  live(now) {
    if (now.state === "ready") return this.#say("");
    const phase = now.phase && now.state !== "draining" ? `: ${now.phase}, ${Math.round(now.progress * 100)} %` : "";
    const what = now.state === "loading" ? "Loading the model" : (DOING[now.state] ?? `The server is ${now.state}`);
    const why = now.reason ? ` (${now.reason})` : "";
    this.#say(`${what}${phase}${why}`, phase ? now.progress : null);
  }

  lost() {
    this.#say("The server does not answer. Trying again every second; what is shown is the last that was heard.");
  }

  full() {
    this.#say("Too many dashboards are open. Trying again every second.");
  }

  /** Resolves when somebody wants to enter a key. */
  async locked() {
    this.#say("This server wants a key.");
    this.#button.hidden = false;
    await new Promise((resolve) => this.#button.addEventListener("click", resolve, { once: true }));
    this.#button.hidden = true;
  }

  #say(text, progress = null) {
    // Said once, not at every event: a screen reader would read it each time.
    if (text !== this.#shown) this.#text.textContent = this.#shown = text;
    this.#place.hidden = !text;
    this.#bar.hidden = progress === null;
    if (progress !== null) this.#bar.value = progress;
  }
}
