// A banner that says what the server is doing if it is not ready, or what happened to the connection.

import { byId, el } from "../shell/dom.js";
import { doingOf, percent } from "../shell/health.js";

export class Banner {
  // Always present and never hidden: screen readers do not announce an element that appears together with its text.
  #text = el("span", { role: "status" });
  #bar = el("progress", { max: 1, "aria-label": "Loading", hidden: true });
  #share = el("span", { class: "share", "aria-hidden": "true" });
  #button = el("button", { class: "button", type: "button", hidden: true }, "Enter the key");
  #place = byId("banner");
  #shown = "";

  constructor() {
    this.#place.append(this.#text, this.#bar, this.#share, this.#button);
  }

  /** The connection is up; `now` has the state of the server. */
  live(now) {
    if (now.state === "ready") return this.#say("");
    const { doing, detail, progress } = doingOf(now);
    this.#say(detail ? `${doing} (${detail})` : doing, progress);
  }

  lost() {
    this.#say("The server does not respond. Trying again every second; the data shown is the last received.");
  }

  full() {
    this.#say("Too many dashboards are open. Trying again every second.");
  }

  /** Never resolves: trying again is pointless before the server is started with another setting. */
  closed() {
    this.#say("The dashboard shows the requests of all keys, which requires an admin key; this server has none (MILLRACE_ADMIN_KEY).");
    return new Promise(() => {});
  }

  /** Resolves when the reader wants to enter a key. */
  async locked() {
    this.#say("This server requires a key.");
    this.#button.hidden = false;
    await new Promise((resolve) => this.#button.addEventListener("click", resolve, { once: true }));
    this.#button.hidden = true;
  }

  #say(text, progress = null) {
    // Set once, not at every event, because a screen reader would read it each time.
    if (text !== this.#shown) this.#text.textContent = this.#shown = text;
    this.#place.classList.toggle("shown", Boolean(text));
    this.#bar.hidden = progress === null;
    this.#bar.value = progress ?? 0;
    this.#share.textContent = progress === null ? "" : percent(progress);
  }
}
