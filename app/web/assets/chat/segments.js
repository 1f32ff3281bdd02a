// Splits a reply into text and the reasoning and tool calls that a model has written into it. If the model's template
// knows their markup, the server has separated them already.

const OPENING = /[ \t]{0,20}<tool_call>/y;
const CLOSING = "</tool_call>";
const REASONING = /^\s{0,20}<think>\n?/;
const END_OF_REASONING = "</think>";

/** The parts of a growing text, in order, parsed incrementally. */
export class Segments {
  #settled = [];
  #from = 0;
  #line = 0;
  #read = 0;

  /** The parts of `text`, which extends the text given before. `kind` is "text", "reasoning" or "tool". */
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

  /** A call starts a line. The last line is examined again, because it may have been incomplete. */
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

/** The reasoning at the beginning of `text`, if any; `end` is where the rest begins. */
function reasoningOf(text) {
  const opening = REASONING.exec(text);
  if (!opening) return null;
  const close = text.indexOf(END_OF_REASONING, opening[0].length);
  const inner = text.slice(opening[0].length, close < 0 ? text.length : close);
  return { kind: "reasoning", text: inner, open: close < 0, end: close < 0 ? text.length : close + END_OF_REASONING.length };
}

/** A reply as part of a later prompt, without its reasoning, which models are not shown again. */
export function withoutReasoning(text) {
  const reasoning = reasoningOf(text);
  return reasoning ? text.slice(reasoning.end).trimStart() : text;
}

/** `text` as formatted JSON, or null if it is not an object or a list. */
export function prettyJson(text) {
  if (!/^\s*[[{]/.test(text)) return null;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return null;
  }
}
