// The parts of a reply: text, and the reasoning and calls of tools that a model has written into its text. Where its
// template knows of them the server has told them apart already.

const OPENING = /[ \t]{0,20}<tool_call>/y;
const CLOSING = "</tool_call>";
const REASONING = /^\s{0,20}<think>\n?/;
const END_OF_REASONING = "</think>";

/** The parts of a text that grows, in order; what has been read is not read again. */
export class Segments {
  #settled = [];
  #from = 0;
  #line = 0;
  #read = 0;

  /** The parts of `text`, which is what was given before with more at its end. `kind` is "text", "reasoning" or "tool". */
  of(text) {
    if (!this.#settled.length && this.#from === 0) {
      const reasoning = reasoningOf(text);
      if (reasoning?.open) return [reasoning];
      if (reasoning) this.#settle(reasoning, reasoning.end);
    }
    while (true) {
      const opening = this.#nextOpening(text);
      const before = { kind: "text", text: text.slice(this.#from, opening?.at), open: !opening };
      if (!opening) return this.#from < text.length && /\S/.test(before.text) ? [...this.#settled, before] : [...this.#settled];
      const close = text.indexOf(CLOSING, opening.end);
      const call = { kind: "tool", text: text.slice(opening.end, close < 0 ? text.length : close), open: close < 0 };
      const parts = /\S/.test(before.text) ? [before, call] : [call];
      if (close < 0) return [...this.#settled, ...parts];
      for (const part of parts) this.#settle(part, close + CLOSING.length);
    }
  }

  #settle(part, end) {
    this.#settled.push(part);
    this.#from = this.#line = this.#read = end;
  }

  /** A call begins a line. The line that was begun is looked at again, as it may not have been whole. */
  #nextOpening(text) {
    while (true) {
      OPENING.lastIndex = this.#line;
      if (OPENING.test(text)) return { at: this.#line, end: OPENING.lastIndex };
      const newline = text.indexOf("\n", this.#read);
      this.#read = newline < 0 ? text.length : newline + 1;
      if (newline < 0) return null;
      this.#line = newline + 1;
    }
  }
}

/** The reasoning that `text` begins with, if it does; `end` is where what follows begins. */
function reasoningOf(text) {
  const opening = REASONING.exec(text);
  if (!opening) return null;
  const close = text.indexOf(END_OF_REASONING, opening[0].length);
  const inner = text.slice(opening[0].length, close < 0 ? text.length : close);
  return { kind: "reasoning", text: inner, open: close < 0, end: close < 0 ? text.length : close + END_OF_REASONING.length };
}

/** What a later prompt says of a reply: models are not shown their earlier reasoning again. */
export function withoutReasoning(text) {
  const reasoning = reasoningOf(text);
  return reasoning ? text.slice(reasoning.end).trimStart() : text;
}

/** `text` as JSON set out over lines, or null if it is not an object or a list. */
export function prettyJson(text) {
  if (!/^\s*[[{]/.test(text)) return null;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return null;
  }
}
