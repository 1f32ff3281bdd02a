// The open conversation and its actions: send, stop, regenerate, edit, continue, compare.

import { byId } from "../shell/dom.js";
import { Answering } from "./answering.js";
import { Composer } from "./composer.js";
import { chatBody, lanesOf, newConversation, titleOf } from "./conversation.js";
import { Keeper } from "./keeper.js";
import { answeredHere, isAnswered } from "./occupancy.js";
import { preference } from "./preferences.js";
import { isRunning, newReply } from "./reply.js";
import { Sidebar } from "./sidebar.js";
import { Thread } from "./thread.js";

const OPEN = "millrace.open";

/** Dispatches "open" when another conversation is shown, and "message" with a message for the reader. */
export class Chat extends EventTarget {
  composer = new Composer();
  #store;
  #health;
  #sidebar;
  #keeper;
  #thread;
  #answering = new Map();
  #wanted = "";

  constructor(store, health) {
    super();
    this.#store = store;
    this.#health = health;
    this.#sidebar = new Sidebar(store);
    this.#keeper = new Keeper(store);
    this.#thread = new Thread({
      edit: (turn, prompt) => this.#resend(turn, prompt),
      regenerate: (turn, lane) => this.#regenerate(turn, lane),
      goOn: (turn, lane) => this.#goOn(turn, lane),
    });
    this.#listen();
  }

  async start() {
    await this.#sidebar.refresh();
    await this.#open(sessionStorage.getItem(OPEN));
  }

  /** Answer `prompt` in each lane. */
  async send(prompt) {
    if (!(await this.#isFree())) return this.composer.giveBack(prompt);
    const turn = { prompt, replies: [] };
    for (const lane of lanesOf(this.conversation)) turn.replies[lane] = newReply({ ...this.conversation.settings[lane] });
    this.conversation.turns.push(turn);
    this.#thread.show(this.conversation);
    for (const lane of lanesOf(this.conversation)) this.#answer(turn, lane);
  }

  /** Save changed settings, for the open conversation and as defaults for the next. */
  settingsChanged() {
    const { settings, system } = this.conversation;
    preference("settings", { settings, system });
    if (this.conversation.turns.length) this.#keeper.saveSoon(this.conversation);
  }

  set comparing(comparing) {
    this.conversation.comparing = comparing;
    this.settingsChanged();
  }

  set showsTokens(shows) {
    this.#thread.showsTokens = shows;
  }

  #listen() {
    this.composer.addEventListener("send", ({ detail }) => this.send(detail));
    this.composer.addEventListener("stop", () => this.#stop(this.conversation));
    this.composer.addEventListener("edit", () => this.#isRunning() || this.#thread.editLast());
    const sidebar = this.#sidebar;
    sidebar.addEventListener("new", () => this.#begin());
    sidebar.addEventListener("open", ({ detail }) => this.#open(detail));
    sidebar.addEventListener("delete", ({ detail }) => this.#delete(detail));
    sidebar.addEventListener("rename", ({ detail }) => this.#rename(detail));
    sidebar.addEventListener("import", ({ detail }) => this.#import(detail));
    sidebar.addEventListener("message", ({ detail }) => this.#notify(detail));
    const keeper = this.#keeper;
    keeper.addEventListener("kept", ({ detail }) => sidebar.note(detail));
    keeper.addEventListener("failed", ({ detail }) => this.#notify(detail));
    keeper.addEventListener("elsewhere", ({ detail }) => this.#changedElsewhere(detail));
  }

  #begin() {
    this.#show(newConversation(preference("settings")));
    this.composer.focus();
  }

  /** Show the conversation with this id, or a new one if it does not exist. If another is requested meanwhile, that wins. */
  async #open(id, known = this.#inMemory(id)) {
    this.#wanted = id;
    const conversation = known ?? (id ? await this.#store.get(id) : null) ?? newConversation(preference("settings"));
    const isMade = conversation.turns.flatMap(({ replies }) => replies).some(isRunning) && (await isAnswered(conversation.id));
    if (!isMade) this.#settle(conversation);
    if (this.#wanted === id) this.#show(conversation);
  }

  #show(conversation) {
    this.conversation = conversation;
    this.#wanted = conversation.id;
    sessionStorage.setItem(OPEN, conversation.id);
    this.#thread.show(conversation);
    this.#sidebar.current = conversation.id;
    this.#changed();
    this.dispatchEvent(new Event("open"));
  }

  /** Mark replies as interrupted that were being generated when the page was left. */
  #settle(conversation) {
    for (const reply of conversation.turns.flatMap(({ replies }) => replies)) {
      if (!isRunning(reply) || this.#answering.has(reply)) continue;
      reply.state = "interrupted";
      reply.notice = "The page was closed before the answer was complete.";
    }
  }

  #answer(turn, lane) {
    const { conversation } = this;
    const reply = turn.replies[lane];
    const bodyFor = (numMade) => chatBody(conversation, turn, lane, numMade);
    const answering = new Answering(reply, "v1/chat/completions", bodyFor, this.#health);
    this.#answering.set(reply, { answering, conversation });
    answering.addEventListener("change", () => {
      this.#thread.changed(reply);
      this.#keeper.saveSoon(conversation, turn);
    });
    answering.addEventListener("anew", () => this.#thread.anew(reply));
    answering.ended.then(() => {
      this.#answering.delete(reply);
      this.#changed();
      this.#keeper.save(conversation, turn);
    });
    answeredHere(conversation.id, answering.ended);
    conversation.updated = Date.now();
    this.#changed();
    this.#keeper.save(conversation, turn);
  }

  async #regenerate(turn, lane) {
    if (!(await this.#isFree())) return;
    turn.replies[lane] = newReply({ ...this.conversation.settings[lane] });
    this.#answerAgain(turn, lane);
  }

  async #goOn(turn, lane) {
    if (!(await this.#isFree())) return;
    turn.replies[lane].state = "waiting";
    turn.replies[lane].finishReason = null;
    this.#answerAgain(turn, lane);
  }

  #answerAgain(turn, lane) {
    this.#cutAfter(turn);
    this.#thread.show(this.conversation);
    this.#thread.focus();
    this.#answer(turn, lane);
  }

  async #resend(turn, prompt) {
    if (!(await this.#isFree())) return;
    this.#cutAfter(turn);
    this.conversation.turns.pop();
    await this.send(prompt);
    this.composer.focus();
  }

  /** Drop the later turns, which follow from what no longer exists. */
  #cutAfter(turn) {
    const { turns } = this.conversation;
    for (const reply of turns.slice(turns.indexOf(turn) + 1).flatMap(({ replies }) => replies)) {
      this.#answering.get(reply)?.answering.stop();
    }
    turns.length = turns.indexOf(turn) + 1;
  }

  #stop(stopped) {
    for (const { answering, conversation } of this.#answering.values()) if (conversation === stopped) answering.stop();
  }

  #isRunning() {
    return [...this.#answering.values()].some(({ conversation }) => conversation === this.conversation);
  }

  /** Whether no other tab is answering in this conversation. If one is, the reader gets a message. */
  async #isFree() {
    const isFree = this.#isRunning() || !(await isAnswered(this.conversation.id));
    if (!isFree) this.#notify("This conversation is being answered in another tab.");
    return isFree;
  }

  #changed() {
    this.composer.running = this.#isRunning();
    byId("title").textContent = titleOf(this.conversation);
  }

  /** A conversation that is open or being answered is not read from the store, which may be out of date. */
  #inMemory(id) {
    const running = [...this.#answering.values()].map(({ conversation }) => conversation);
    return [this.conversation, ...running].find((conversation) => conversation?.id === id);
  }

  async #changedElsewhere(id) {
    await this.#sidebar.refresh();
    if (id === this.conversation.id && !this.#isRunning()) await this.#open(id, null);
  }

  async #delete(id) {
    const conversation = this.#inMemory(id);
    if (conversation) {
      this.#stop(conversation);
      conversation.deleted = true;
    }
    await this.#keeper.delete(id);
    await this.#sidebar.refresh();
    if (conversation === this.conversation) this.#begin();
  }

  async #rename({ id, title }) {
    const conversation = this.#inMemory(id) ?? (await this.#store.get(id));
    conversation.title = title;
    await this.#keeper.save(conversation);
    this.#changed();
  }

  async #import(conversations) {
    for (const conversation of conversations) await this.#keeper.save(conversation, ...conversation.turns);
    this.#notify(`${conversations.length} imported.`);
  }

  #notify(detail) {
    this.dispatchEvent(new CustomEvent("message", { detail }));
  }
}
