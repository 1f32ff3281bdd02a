// Saves conversations as they change (only what has changed), and notifies the browser's other tabs.

const SAVE_MS = 1_000;

/**
 * Dispatches "kept" with the summary as `detail`, "elsewhere" with the id of a conversation that another tab changed, and
 * "failed" with a message.
 */
export class Keeper extends EventTarget {
  #store;
  #changed = new Map();
  #tabs = new BroadcastChannel("millrace.conversations");

  constructor(store) {
    super();
    this.#store = store;
    this.#tabs.addEventListener("message", ({ data }) => this.#emit("elsewhere", data));
    addEventListener("pagehide", () => [...this.#changed.keys()].forEach((conversation) => this.save(conversation)));
  }

  /** The turns `changed` are being generated. Other tabs are notified when they are complete. */
  saveSoon(conversation, ...changed) {
    const changes = this.#add(conversation, changed);
    changes.timer ||= setTimeout(() => this.#write(conversation), SAVE_MS);
  }

  /** Save everything that has changed at once, including `changed`. */
  async save(conversation, ...changed) {
    this.#add(conversation, changed);
    await this.#write(conversation);
    this.#tabs.postMessage(conversation.id);
  }

  async delete(id) {
    for (const conversation of this.#changed.keys()) if (conversation.id === id) this.#take(conversation);
    await this.#store.delete(id);
    this.#tabs.postMessage(id);
  }

  async #write(conversation) {
    const turns = this.#take(conversation);
    if (conversation.deleted) return;
    const own = [...turns].filter((turn) => conversation.turns.includes(turn));
    try {
      this.#emit("kept", await this.#store.put(conversation, own));
    } catch (error) {
      this.#add(conversation, own);
      this.#emit("failed", `The conversation could not be saved: ${error.message}`);
    }
  }

  #add(conversation, turns) {
    if (!this.#changed.has(conversation)) this.#changed.set(conversation, { turns: new Set(), timer: 0 });
    const changes = this.#changed.get(conversation);
    for (const turn of turns) changes.turns.add(turn);
    return changes;
  }

  #take(conversation) {
    const { turns, timer } = this.#add(conversation, []);
    clearTimeout(timer);
    this.#changed.delete(conversation);
    return turns;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
