// The list of conversations: opened, searched, renamed, deleted, exported and imported.

import { confirmed } from "../shell/dialogs.js";
import { byId, el } from "../shell/dom.js";
import { iconButton } from "../shell/icons.js";
import { download, exported, imported } from "./transfer.js";

/**
 * Dispatches "open" and "delete" with `detail` the id, "rename" with {id, title}, "import" with conversations, "new", and
 * "told" with a message.
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
    byId("new-conversation").addEventListener("click", () => this.#tell("new"));
    byId("search").addEventListener("input", () => this.#draw());
    byId("export-all").addEventListener("click", async () => this.#export(await store.all(), "conversations"));
    byId("import").addEventListener("click", () => byId("import-file").click());
    byId("import-file").addEventListener("change", (event) => this.#import(event.target));
  }

  /** Show what is stored now. */
  async refresh() {
    this.#summaries = new Map((await this.#store.summaries()).map((summary) => [summary.id, summary]));
    this.#draw();
  }

  /** A conversation was kept. */
  note(summary) {
    this.#summaries.set(summary.id, summary);
    this.#draw();
  }

  /** Which conversation is open. */
  set current(id) {
    this.#current = id;
    this.#draw();
  }

  /** Only if it is to look different: who is in the list with the keyboard is not thrown out while answers come. */
  #draw() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [...this.#summaries.values()]
      .filter(({ text }) => words.every((word) => text.includes(word)))
      .sort((a, b) => b.updated - a.updated);
    const looks = JSON.stringify([this.#current, found.map(({ id, title }) => [id, title])]);
    byId("no-conversations").hidden = found.length > 0;
    byId("no-conversations").textContent = this.#summaries.size ? "Nothing found." : "Conversations are kept in this browser.";
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
    open.addEventListener("click", () => this.#tell("open", id));
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
      if (renamed && field.value.trim()) this.#tell("rename", { id, title: field.value.trim() });
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
    if (sure) this.#tell("delete", id);
  }

  #export(conversations, title) {
    const name = title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40) || "conversation";
    download(`millrace-${name}.json`, exported(conversations));
  }

  async #import(input) {
    try {
      this.#tell("import", imported(await input.files[0].text()));
    } catch (error) {
      this.#tell("told", error.message);
    }
    input.value = "";
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** The entry and the part of it that have the focus, if any do. */
function focusIn(list) {
  const { activeElement } = document;
  return list.contains(activeElement) ? [activeElement.closest("li").dataset.id, activeElement.dataset.part] : [];
}
