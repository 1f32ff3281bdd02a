// Conversations in the browser's IndexedDB: their properties, their turns as separate entries, and searchable summaries.

import { titleOf } from "./conversation.js";
import { isRunning } from "./reply.js";

const VERSION = 2;
const MAX_SEARCHED_LENGTH = 50_000;

export class Store {
  #db;

  static async open() {
    const opening = indexedDB.open("millrace", VERSION);
    opening.onupgradeneeded = ({ oldVersion }) => upgrade(opening, oldVersion);
    const blocked = new Promise((_, reject) => {
      opening.onblocked = () => reject(new Error("Another tab shows an older form of it. Close that one and load this one again."));
    });
    const store = new Store();
    store.#db = await Promise.race([result(opening), blocked]);
    store.#db.onversionchange = () => store.#db.close();
    return store;
  }

  /** All summaries, in no particular order. */
  summaries() {
    return result(this.#db.transaction("summaries").objectStore("summaries").getAll());
  }

  /** The conversation with this id; undefined if there is none. */
  async get(id) {
    const transaction = this.#db.transaction(["conversations", "turns"]);
    const turns = result(transaction.objectStore("turns").getAll(keysOf(id)));
    const head = await result(transaction.objectStore("conversations").get(id));
    return head && { ...head, turns: await turns };
  }

  async all() {
    const ids = await result(this.#db.transaction("conversations").objectStore("conversations").getAllKeys());
    return Promise.all(ids.map((id) => this.get(id)));
  }

  /**
   * Save `conversation` as it is now, with the turns in `changed` that still belong to it, in one transaction. Resolves to
   * its summary.
   */
  async put(conversation, changed = conversation.turns) {
    const { turns, ...head } = conversation;
    const summary = summaryOf(conversation);
    await this.#write((stores) => {
      stores.conversations.put(head);
      stores.summaries.put(summary);
      stores.turns.delete(keysOf(head.id, turns.length));
      for (const turn of changed) stores.turns.put(storedTurn(turn), [head.id, turns.indexOf(turn)]);
    });
    return summary;
  }

  delete(id) {
    return this.#write(({ conversations, summaries, turns }) => {
      conversations.delete(id);
      summaries.delete(id);
      turns.delete(keysOf(id));
    });
  }

  #write(change) {
    const names = ["conversations", "summaries", "turns"];
    const transaction = this.#db.transaction(names, "readwrite");
    change(Object.fromEntries(names.map((name) => [name, transaction.objectStore(name)])));
    // Commit without waiting for the writes: the page may be closed at any moment.
    transaction.commit();
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
    });
  }
}

function upgrade({ result: db, transaction }, oldVersion) {
  const turns = db.createObjectStore("turns");
  if (oldVersion === 0) {
    db.createObjectStore("conversations", { keyPath: "id" });
    db.createObjectStore("summaries", { keyPath: "id" });
    return;
  }
  // Version 1 stored the turns within their conversations.
  transaction.objectStore("conversations").openCursor().onsuccess = ({ target: { result: cursor } }) => {
    if (!cursor) return;
    const { turns: within, ...head } = cursor.value;
    within.forEach((turn, index) => turns.put(turn, [head.id, index]));
    cursor.update(head);
    cursor.continue();
  };
}

/** The keys of the turns of a conversation, starting with a given one. */
function keysOf(id, from = 0) {
  return IDBKeyRange.bound([id, from], [id, Infinity]);
}

/** The probabilities of a reply in progress are many, and not worth saving every second. */
function storedTurn(turn) {
  return { ...turn, replies: turn.replies.map((reply) => (isRunning(reply) ? { ...reply, tokens: null } : reply)) };
}

function summaryOf(conversation) {
  const texts = conversation.turns.flatMap((turn) => [turn.prompt, ...turn.replies.map((reply) => reply.text)]);
  const text = [titleOf(conversation), ...texts].join("\n").slice(0, MAX_SEARCHED_LENGTH).toLowerCase();
  return { id: conversation.id, title: titleOf(conversation), updated: conversation.updated, text };
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
