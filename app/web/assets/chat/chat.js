// The open conversation, and what is done to it: send, stop, regenerate, edit, go on, compare.

import { Answering } from "./answering.js";
import { byId } from "../shell/dom.js";
import { Composer } from "./composer.js";
import { chatBody, lanesOf, newConversation, titleOf } from "./conversation.js";
import { preference } from "./preferences.js";
import { isRunning, newReply } from "./reply.js";
import { Sidebar } from "./sidebar.js";
import { Thread } from "./thread.js";

const SAVE_MS = 1_000;
const NUM_ALTERNATIVES = 5;
const OPEN = "millrace.open";

/** Dispatches "open" when another conversation is shown, and "told" with a message for the reader. */
export class Chat extends EventTarget {
  composer = new Composer();
  #store;
  #health;
  #sidebar;
  #thread;
  #answering = new Map();
  #saving = new Map();

  constructor(store, health) {
    super();
    this.#store = store;
    this.#health = health;
    this.#sidebar = new Sidebar(store);
    this.#thread = new Thread({
      edit: (turn, prompt) => this.#resend(turn, prompt),
      regenerate: (turn, lane) => this.#regenerate(turn, lane),
      goOn: (turn, lane) => this.#goOn(turn, lane),
    });
    this.#listen();
  }

  async start() {
    const open = sessionStorage.getItem(OPEN);
    this.#show((open && (await this.#store.get(open))) || newConversation(preference("settings")));
  }

  /** Answer `prompt` in each lane. */
  send(prompt) {
    const turn = { prompt, replies: [] };
    this.conversation.turns.push(turn);
    for (const lane of lanesOf(this.conversation)) turn.replies[lane] = newReply({ ...this.conversation.settings[lane] });
    for (const lane of lanesOf(this.conversation)) this.#answer(turn, lane);
    this.#thread.show(this.conversation);
  }

  /** The settings of the open conversation were changed: keep them, for it and for the next. */
  settingsChanged() {
    const { settings, system } = this.conversation;
    preference("settings", { settings, system });
    if (this.conversation.turns.length) this.#saveSoon(this.conversation);
  }

  set comparing(comparing) {
    this.conversation.comparing = comparing;
    this.settingsChanged();
  }

  set showsTokens(shows) {
    this.#thread.showsTokens = shows;
    if (this.conversation) this.#thread.show(this.conversation);
  }

  #listen() {
    this.composer.addEventListener("send", ({ detail }) => this.send(detail));
    this.composer.addEventListener("stop", () => this.#stop());
    this.composer.addEventListener("edit", () => {
      const last = this.conversation.turns.at(-1);
      if (last && !this.#isRunning()) this.#thread.edit(last);
    });
    const sidebar = this.#sidebar;
    sidebar.addEventListener("new", () => this.#show(newConversation(preference("settings"))));
    sidebar.addEventListener("open", async ({ detail }) => this.#show(this.#inMemory(detail) ?? (await this.#store.get(detail))));
    sidebar.addEventListener("delete", ({ detail }) => this.#delete(detail));
    sidebar.addEventListener("rename", ({ detail }) => this.#rename(detail));
    sidebar.addEventListener("told", ({ detail }) => this.#tell(detail));
    addEventListener("pagehide", () => this.#saving.forEach((_, conversation) => this.#save(conversation)));
  }

  #show(conversation) {
    this.conversation = conversation;
    for (const reply of conversation.turns.flatMap((turn) => turn.replies)) this.#settle(reply);
    sessionStorage.setItem(OPEN, conversation.id);
    this.#thread.show(conversation);
    this.#runningChanged();
    this.#refreshList();
    this.dispatchEvent(new Event("open"));
  }

  /** A reply that was being made when the document was left is not being made any more. */
  #settle(reply) {
    if (!isRunning(reply) || this.#answering.has(reply)) return;
    reply.state = "interrupted";
    reply.notice = "The page was left before the end of this answer.";
  }

  #answer(turn, lane) {
    const { conversation } = this;
    const reply = turn.replies[lane];
    const probabilities = preference("tokens") ? NUM_ALTERNATIVES : 0;
    const bodyFor = () => chatBody(conversation, turn, lane, reply, probabilities);
    const answering = new Answering(reply, "v1/chat/completions", bodyFor, this.#health);
    this.#answering.set(reply, { answering, conversation });
    answering.addEventListener("change", () => {
      this.#thread.changed(reply);
      this.#saveSoon(conversation);
    });
    answering.addEventListener("anew", () => this.#thread.show(this.conversation));
    answering.ended.then(() => {
      this.#answering.delete(reply);
      this.#runningChanged();
      this.#save(conversation);
    });
    conversation.updated = Date.now();
    this.#runningChanged();
    this.#save(conversation);
  }

  #regenerate(turn, lane) {
    turn.replies[lane] = newReply({ ...this.conversation.settings[lane] });
    this.#cutAfter(turn);
    this.#answer(turn, lane);
    this.#thread.show(this.conversation);
  }

  #goOn(turn, lane) {
    turn.replies[lane].state = "waiting";
    turn.replies[lane].finishReason = null;
    this.#cutAfter(turn);
    this.#answer(turn, lane);
    this.#thread.show(this.conversation);
  }

  #resend(turn, prompt) {
    this.#cutAfter(turn);
    this.conversation.turns.pop();
    this.send(prompt);
    this.composer.focus();
  }

  /** Later turns answered what is not there any more. */
  #cutAfter(turn) {
    const { turns } = this.conversation;
    for (const reply of turns.slice(turns.indexOf(turn) + 1).flatMap(({ replies }) => replies)) {
      this.#answering.get(reply)?.answering.stop();
    }
    turns.length = turns.indexOf(turn) + 1;
  }

  #stop() {
    for (const { answering, conversation } of this.#answering.values()) {
      if (conversation === this.conversation) answering.stop();
    }
  }

  #isRunning() {
    return [...this.#answering.values()].some(({ conversation }) => conversation === this.conversation);
  }

  #runningChanged() {
    this.composer.running = this.#isRunning();
  }

  /** One that is being answered, or open, is not read from the store, which may be behind it. */
  #inMemory(id) {
    const running = [...this.#answering.values()].map(({ conversation }) => conversation);
    return [this.conversation, ...running].find((conversation) => conversation.id === id);
  }

  async #delete(id) {
    const conversation = this.#inMemory(id);
    for (const running of this.#answering.values()) {
      if (running.conversation === conversation) running.answering.stop();
    }
    if (conversation) conversation.deleted = true;
    await this.#store.delete(id);
    if (conversation === this.conversation) this.#show(newConversation(preference("settings")));
    else this.#refreshList();
  }

  async #rename({ id, title }) {
    const conversation = this.#inMemory(id) ?? (await this.#store.get(id));
    conversation.title = title;
    await this.#save(conversation);
    if (conversation === this.conversation) this.dispatchEvent(new Event("open"));
  }

  #saveSoon(conversation) {
    if (this.#saving.has(conversation)) return;
    this.#saving.set(conversation, setTimeout(() => this.#save(conversation), SAVE_MS));
  }

  async #save(conversation) {
    clearTimeout(this.#saving.get(conversation));
    this.#saving.delete(conversation);
    if (conversation.deleted) return;
    try {
      await this.#store.put(conversation);
      await this.#refreshList();
    } catch (error) {
      this.#tell(`The conversation could not be kept: ${error.message}`);
    }
  }

  #refreshList() {
    byId("title").textContent = titleOf(this.conversation);
    return this.#sidebar.refresh(this.conversation.id);
  }

  #tell(detail) {
    this.dispatchEvent(new CustomEvent("told", { detail }));
  }
}
