// Conversations in the browser's IndexedDB: whole ones, and summaries of all of them to list and to search.

import { titleOf } from "./conversation.js";

const VERSION = 1;
const LONGEST_SEARCHED = 50_000;

export class Store {
  #db;

  static async open() {
    const opening = indexedDB.open("millrace", VERSION);
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore("conversations", { keyPath: "id" });
      opening.result.createObjectStore("summaries", { keyPath: "id" });
    };
    const store = new Store();
    store.#db = await result(opening);
    return store;
  }

  /** What is listed, the latest first. */
  async summaries() {
    const all = await result(this.#db.transaction("summaries").objectStore("summaries").getAll());
    return all.sort((a, b) => b.updated - a.updated);
  }

  get(id) {
    return result(this.#db.transaction("conversations").objectStore("conversations").get(id));
  }

  all() {
    return result(this.#db.transaction("conversations").objectStore("conversations").getAll());
  }

  /** Keep conversations as they are now; both entries of each or neither. */
  put(...conversations) {
    return this.#write((whole, summaries) => {
      for (const conversation of conversations) {
        whole.put(conversation);
        summaries.put(summaryOf(conversation));
      }
    });
  }

  delete(id) {
    return this.#write((whole, summaries) => {
      whole.delete(id);
      summaries.delete(id);
    });
  }

  #write(change) {
    const transaction = this.#db.transaction(["conversations", "summaries"], "readwrite");
    change(transaction.objectStore("conversations"), transaction.objectStore("summaries"));
    // Without waiting for what was put: the document may be left at any moment.
    transaction.commit();
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
    });
  }
}

function summaryOf(conversation) {
  const texts = conversation.turns.flatMap((turn) => [turn.prompt, ...turn.replies.map((reply) => reply?.text ?? "")]);
  const text = [titleOf(conversation), ...texts].join("\n").slice(0, LONGEST_SEARCHED).toLowerCase();
  return { id: conversation.id, title: titleOf(conversation), updated: conversation.updated, text };
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
