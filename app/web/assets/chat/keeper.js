// Keeps conversations as they change, only what changed of them, and tells the other tabs of the same browser.

const SAVE_MS = 1_000;

/**
 * Dispatches "kept" with `detail` the summary, "elsewhere" with `detail` the id of what another tab has changed, and
 * "failed" with a message.
 */
export class Keeper extends EventTarget {
  #store;
  #changed = new Map();
  #tabs = new BroadcastChannel("millrace.conversations");

  constructor(store) {
    super();
    this.#store = store;
    this.#tabs.addEventListener("message", ({ data }) => this.#tell("elsewhere", data));
    addEventListener("pagehide", () => [...this.#changed.keys()].forEach((conversation) => this.save(conversation)));
  }

  /** `changed` are being written. Tabs that show them too hear of it when they are whole. */
  saveSoon(conversation, ...changed) {
    const changes = this.#add(conversation, changed);
    changes.timer ||= setTimeout(() => this.#write(conversation), SAVE_MS);
  }

  /** Keep at once what has changed, `changed` among it. */
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
      this.#tell("kept", await this.#store.put(conversation, own));
    } catch (error) {
      this.#add(conversation, own);
      this.#tell("failed", `The conversation could not be kept: ${error.message}`);
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

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
