// The list of conversations, to open, search, rename, delete, export and import them.

import { confirmed } from "../shell/dialogs.js";
import { byId, el } from "../shell/dom.js";
import { iconButton } from "../shell/icons.js";
import { download, exported, imported } from "./transfer.js";

/**
 * Dispatches "open" and "delete" with the id as `detail`, "rename" with {id, title}, "import" with conversations, "new",
 * and "message" with a message.
 */
export class Sidebar extends EventTarget {
  #store;
  #summaries = new Map();
  #current = "";
  #shown = "";
  #renaming = false;

  constructor(store) {
    super();
    this.#store = store;
    byId("new-conversation").addEventListener("click", () => this.#emit("new"));
    byId("search").addEventListener("input", () => this.#draw());
    byId("export-all").addEventListener("click", async () => this.#export(await store.all(), "conversations"));
    byId("import").addEventListener("click", () => byId("import-file").click());
    byId("import-file").addEventListener("change", (event) => this.#import(event.target));
  }

  /** Show what is currently stored. */
  async refresh() {
    this.#summaries = new Map((await this.#store.summaries()).map((summary) => [summary.id, summary]));
    this.#draw();
  }

  /** A conversation was saved. */
  note(summary) {
    this.#summaries.set(summary.id, summary);
    this.#draw();
  }

  /** Which conversation is open. */
  set current(id) {
    this.#current = id;
    this.#draw();
  }

  /** Redraw the list only if it changes, so that keyboard users do not lose the focus while answers arrive. */
  #draw() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [...this.#summaries.values()]
      .filter(({ text }) => words.every((word) => text.includes(word)))
      .sort((a, b) => b.updated - a.updated);
    const looks = JSON.stringify([this.#current, found.map(({ id, title }) => [id, title])]);
    byId("no-conversations").hidden = found.length > 0;
    byId("no-conversations").textContent = this.#summaries.size ? "Nothing found." : "Conversations are stored in this browser.";
    if (looks === this.#shown || this.#renaming) return;
    this.#shown = looks;
    const list = byId("conversations");
    const [id, label] = focusIn(list);
    list.replaceChildren(...found.map((summary) => this.#entry(summary)));
    if (id) list.querySelector(`[data-id="${id}"] [data-part="${label}"]`)?.focus();
  }

  #entry({ id, title }) {
    const open = el("button", { type: "button", class: "conversation", title, dir: "auto", "data-part": "open" }, title);
    if (id === this.#current) open.setAttribute("aria-current", "true");
    open.addEventListener("click", () => this.#emit("open", id));
    const buttons = [
      iconButton("pencil", `Rename ${title}`, () => this.#rename(entry, id, title)),
      iconButton("download", `Export ${title}`, async () => this.#export([await this.#store.get(id)], title)),
      iconButton("trash", `Delete ${title}`, () => this.#delete(id, title)),
    ];
    ["rename", "export", "delete"].forEach((part, index) => (buttons[index].dataset.part = part));
    const entry = el("li", { "data-id": id }, open, el("div", { class: "conversation-actions" }, ...buttons));
    return entry;
  }

  #rename(entry, id, title) {
    const field = el("input", { class: "field", value: title, "aria-label": "Title of the conversation", maxLength: 120 });
    const end = (renamed, byKey) => {
      if (!this.#renaming) return;
      this.#renaming = false;
      this.#shown = "";
      if (renamed && field.value.trim()) this.#emit("rename", { id, title: field.value.trim() });
      this.#draw();
      if (byKey) byId("conversations").querySelector(`[data-id="${id}"] [data-part="rename"]`)?.focus();
    };
    field.addEventListener("keydown", (event) => {
      const { key, isComposing } = event;
      if (isComposing || (key !== "Enter" && key !== "Escape")) return;
      event.preventDefault();
      end(key === "Enter", true);
    });
    field.addEventListener("blur", () => end(true, false));
    this.#renaming = true;
    entry.replaceChildren(field);
    field.select();
  }

  async #delete(id, title) {
    const sure = await confirmed("Delete this conversation?", `“${title}” cannot be brought back.`, "Delete");
    if (sure) this.#emit("delete", id);
  }

  #export(conversations, title) {
    const name = title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40) || "conversation";
    download(`millrace-${name}.json`, exported(conversations));
  }

  async #import(input) {
    try {
      this.#emit("import", imported(await input.files[0].text()));
    } catch (error) {
      this.#emit("message", error.message);
    }
    input.value = "";
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** The entry that has the focus, and the part of it, if any. */
function focusIn(list) {
  const { activeElement } = document;
  return list.contains(activeElement) ? [activeElement.closest("li").dataset.id, activeElement.dataset.part] : [];
}
