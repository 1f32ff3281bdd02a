// The list of conversations: opened, searched, renamed, deleted, exported and imported.

import { confirmed } from "../shell/dialogs.js";
import { byId, el } from "../shell/dom.js";
import { iconButton } from "../shell/icons.js";
import { download, exported, imported } from "./transfer.js";

/** Dispatches "open" and "delete" with `detail` the id, "rename" with {id, title}, "new", and "told" with a message. */
export class Sidebar extends EventTarget {
  #store;
  #summaries = [];
  #current = "";

  constructor(store) {
    super();
    this.#store = store;
    byId("new-conversation").addEventListener("click", () => this.#tell("new"));
    byId("search").addEventListener("input", () => this.#draw());
    byId("export-all").addEventListener("click", async () => this.#export(await store.all(), "conversations"));
    byId("import").addEventListener("click", () => byId("import-file").click());
    byId("import-file").addEventListener("change", (event) => this.#import(event.target));
  }

  /** Show what is stored now, and which conversation is open. */
  async refresh(current = this.#current) {
    this.#current = current;
    this.#summaries = await this.#store.summaries();
    this.#draw();
  }

  #draw() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.#summaries.filter(({ text }) => words.every((word) => text.includes(word)));
    byId("conversations").replaceChildren(...found.map((summary) => this.#entry(summary)));
    byId("no-conversations").hidden = found.length > 0;
    byId("no-conversations").textContent = this.#summaries.length ? "Nothing found." : "Conversations are kept in this browser.";
  }

  #entry({ id, title }) {
    const open = el("button", { type: "button", class: "conversation", title }, title);
    if (id === this.#current) open.setAttribute("aria-current", "true");
    open.addEventListener("click", () => this.#tell("open", id));
    const buttons = [
      iconButton("pencil", `Rename ${title}`, () => this.#rename(entry, id, title)),
      iconButton("download", `Export ${title}`, async () => this.#export([await this.#store.get(id)], title)),
      iconButton("trash", `Delete ${title}`, () => this.#delete(id, title)),
    ];
    const entry = el("li", {}, open, el("div", { class: "conversation-actions" }, ...buttons));
    return entry;
  }

  #rename(entry, id, title) {
    const field = el("input", { class: "field", value: title, "aria-label": "Title of the conversation", maxLength: 120 });
    let over = false;
    const end = (renamed) => {
      if (over) return;
      over = true;
      if (renamed && field.value.trim()) this.#tell("rename", { id, title: field.value.trim() });
      else this.#draw();
    };
    field.addEventListener("keydown", ({ key, isComposing }) => {
      if (key === "Enter" && !isComposing) end(true);
      if (key === "Escape") end(false);
    });
    field.addEventListener("blur", () => end(true));
    entry.replaceChildren(field);
    field.select();
  }

  async #delete(id, title) {
    const sure = await confirmed("Delete this conversation?", `“${title}” cannot be brought back.`, "Delete");
    if (sure) this.#tell("delete", id);
  }

  #export(conversations, title) {
    const name = title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40) || "conversation";
    download(`millrace-${name}.json`, exported(conversations));
  }

  async #import(input) {
    try {
      const conversations = imported(await input.files[0].text());
      await this.#store.put(...conversations);
      await this.refresh();
      this.#tell("told", `${conversations.length} imported.`);
    } catch (error) {
      this.#tell("told", error.message);
    }
    input.value = "";
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
