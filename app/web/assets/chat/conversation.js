// A conversation as data, as it is stored in the browser, and the requests made from it.

import { preference } from "./preferences.js";
import { settingsForTheRest } from "./reply.js";
import { withoutReasoning } from "./segments.js";

const MAX_TITLE_LENGTH = 60;
const NUM_ALTERNATIVES = 5;

/** `settings` belongs to lane A; lane B's settings are used when two answers are compared. */
export function newConversation({ settings = [{}, {}], system = "" } = {}) {
  const now = Date.now();
  return { id: newId(), title: "", created: now, updated: now, system, settings, comparing: false, turns: [] };
}

/** crypto.randomUUID does not exist over plain HTTP, except on localhost. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function titleOf(conversation) {
  if (conversation.title) return conversation.title;
  const first = conversation.turns[0]?.prompt.trim().split("\n")[0] ?? "";
  return first.length > MAX_TITLE_LENGTH ? `${first.slice(0, MAX_TITLE_LENGTH)}…` : first || "New conversation";
}

/** The lanes that answer the next prompt: A, or A and B. */
export function lanesOf(conversation) {
  return conversation.comparing ? [0, 1] : [0];
}

/**
 * The body of the request for the reply in `lane` of `turn`, or for the rest of it after the `numMade` tokens of an
 * earlier attempt. Earlier turns are sent with the answer of the same lane, or with the other's if there is only one;
 * turns without an answer are omitted.
 */
export function chatBody(conversation, turn, lane, numMade) {
  const reply = turn.replies[lane];
  const messages = conversation.system.trim() ? [{ role: "system", content: conversation.system }] : [];
  for (const earlier of conversation.turns.slice(0, conversation.turns.indexOf(turn))) {
    const answer = withoutReasoning((earlier.replies[lane] ?? earlier.replies[0])?.text ?? "");
    if (answer) messages.push({ role: "user", content: earlier.prompt }, { role: "assistant", content: answer });
  }
  messages.push({ role: "user", content: turn.prompt });
  const body = { ...settingsForTheRest(reply.settings, numMade), messages };
  if (reply.text) {
    body.messages.push({ role: "assistant", content: reply.text });
    body.continue_final_message = true;
  }
  // The probabilities of the rest alone would belong to a different text.
  const scored = reply.text ? reply.tokens !== null : preference("tokens");
  return scored ? { ...body, logprobs: true, top_logprobs: NUM_ALTERNATIVES } : body;
}
