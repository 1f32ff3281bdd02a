// What the server is doing while it is not simply at work, and what became of the connection.

import { byId, el } from "../shell/dom.js";
import { doingOf, percent } from "../shell/health.js";

export class Banner {
  // There from the beginning, and never hidden: what comes into view with its text would not be read out.
  #text = el("span", { role: "status" });
  #bar = el("progress", { max: 1, "aria-label": "Loading", hidden: true });
  #share = el("span", { class: "share", "aria-hidden": "true" });
  #button = el("button", { class: "button", type: "button", hidden: true }, "Enter the key");
  #place = byId("banner");
  #shown = "";

  constructor() {
    this.#place.append(this.#text, this.#bar, this.#share, this.#button);
  }

  /** The connection is up; `now` says how the server is. */
  live(now) {
    if (now.state === "ready") return this.#say("");
    const { doing, detail, progress } = doingOf(now);
    this.#say(detail ? `${doing} (${detail})` : doing, progress);
  }

  lost() {
    this.#say("The server does not answer. Trying again every second; what is shown is the last that was heard.");
  }

  full() {
    this.#say("Too many dashboards are open. Trying again every second.");
  }

  /** Never resolves: asking again would not help before the server is started with another setting. */
  closed() {
    this.#say("The dashboard shows the requests of all keys, and this server has no key for that: MILLRACE_ADMIN_KEY.");
    return new Promise(() => {});
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
    this.#place.classList.toggle("shown", Boolean(text));
    this.#bar.hidden = progress === null;
    this.#bar.value = progress ?? 0;
    this.#share.textContent = progress === null ? "" : percent(progress);
  }
}
