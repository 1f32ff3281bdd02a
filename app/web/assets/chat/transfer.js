// Exports conversations to a JSON file, and imports them. A file may come from anywhere, so it is validated.

import { newConversation, newId } from "./conversation.js";
import { newReply } from "./reply.js";
import { fittingSettings } from "./settings.js";

const FORMAT = "millrace.conversations";
const KEPT_MS = 10_000;

export function exported(conversations) {
  return JSON.stringify({ format: FORMAT, version: 1, conversations }, null, 2);
}

/** The conversations in the text of a file, with new ids. Throws an error that says what is wrong. */
export function imported(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("The file is not JSON.");
  }
  if (file?.format !== FORMAT || !Array.isArray(file.conversations)) {
    throw new Error(`The file is not an export of conversations: its "format" is not "${FORMAT}".`);
  }
  return file.conversations.map(conversationFrom);
}

export function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  // Some browsers only start reading it after this.
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}

function conversationFrom(given) {
  if (!Array.isArray(given?.turns)) throw new Error("A conversation in the file has no turns.");
  const settings = [0, 1].map((lane) => fittingSettings(objectOr(given.settings?.[lane], {})));
  return {
    ...newConversation({ settings, system: textOr(given.system, "") }),
    id: newId(),
    title: textOr(given.title, ""),
    created: numberOr(given.created, Date.now()),
    updated: numberOr(given.updated, Date.now()),
    comparing: given.comparing === true,
    turns: given.turns.map(turnFrom),
  };
}

function turnFrom(given) {
  if (typeof given?.prompt !== "string" || !Array.isArray(given.replies)) {
    throw new Error("A turn in the file has no prompt, or no replies.");
  }
  return { prompt: given.prompt, replies: given.replies.slice(0, 2).map(replyFrom) };
}

function replyFrom(given) {
  const standard = newReply(fittingSettings(objectOr(given?.settings, {})));
  const usage = objectOr(given?.usage, null);
  return {
    ...standard,
    text: textOr(given?.text, ""),
    reasoning: textOr(given?.reasoning, ""),
    toolCalls: Array.isArray(given?.toolCalls) ? given.toolCalls.map(callFrom) : [],
    tokens: Array.isArray(given?.tokens) && given.tokens.every(isToken) ? given.tokens : null,
    state: ["done", "stopped", "interrupted", "failed"].includes(given?.state) ? given.state : "interrupted",
    finishReason: textOr(given?.finishReason, null),
    notice: textOr(given?.notice, ""),
    usage: usage && {
      prompt: numberOr(usage.prompt, 0),
      cached: numberOr(usage.cached, 0),
      output: numberOr(usage.output, 0),
    },
    seconds: {
      toFirst: numberOr(given?.seconds?.toFirst, null),
      generating: numberOr(given?.seconds?.generating, 0),
    },
  };
}

function callFrom(given) {
  return { id: textOr(given?.id, ""), name: textOr(given?.name, ""), arguments: textOr(given?.arguments, "") };
}

function isToken(token) {
  return Array.isArray(token) && isChoice(token) && Array.isArray(token[2]) && token[2].every(isChoice);
}

function isChoice(choice) {
  return typeof choice?.[0] === "string" && (choice[1] === null || typeof choice[1] === "number");
}

const textOr = (value, standard) => (typeof value === "string" ? value : standard);
const numberOr = (value, standard) => (Number.isFinite(value) ? value : standard);
const objectOr = (value, standard) =>
  value !== null && typeof value === "object" && !Array.isArray(value) ? value : standard;
