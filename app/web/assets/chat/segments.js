// The parts of a reply: text, and the reasoning and calls of tools that a model has written into its text. Where its
// template knows of them the server has told them apart already.

const OPENING = /^[ \t]*<(tool_call)>/m;
const REASONING = /^\s*<think>\n?/;
const END_OF_REASONING = "</think>";

/** The parts in order: `kind` is "text", "reasoning" or "tool"; the last may still be `open`. */
export function segmentsOf(text) {
  const segments = [];
  let at = 0;
  const reasoning = REASONING.exec(text);
  if (reasoning) {
    const end = text.indexOf(END_OF_REASONING);
    const to = end >= 0 ? end : text.length;
    segments.push({ kind: "reasoning", text: text.slice(reasoning[0].length, to), open: end < 0 });
    at = end >= 0 ? end + END_OF_REASONING.length : text.length;
  }
  while (at < text.length) {
    const rest = text.slice(at);
    const opening = OPENING.exec(rest);
    const before = opening ? rest.slice(0, opening.index) : rest;
    if (before.trim()) segments.push({ kind: "text", text: before, open: !opening });
    if (!opening) break;
    const from = opening.index + opening[0].length;
    const close = rest.indexOf("</tool_call>", from);
    segments.push({ kind: "tool", text: rest.slice(from, close < 0 ? rest.length : close), open: close < 0 });
    at = close < 0 ? text.length : at + close + "</tool_call>".length;
  }
  return segments;
}

/** What a later prompt says of a reply: models are not shown their earlier reasoning again. */
export function withoutReasoning(text) {
  if (!REASONING.test(text)) return text;
  const end = text.indexOf(END_OF_REASONING);
  return end >= 0 ? text.slice(end + END_OF_REASONING.length).trimStart() : "";
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
