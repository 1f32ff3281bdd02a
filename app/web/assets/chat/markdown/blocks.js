// Splits Markdown into blocks, one at a time from a given offset, so that a growing text is never parsed from its start
// again. Anything that is not recognised is a paragraph. HTML in the text is plain text.

// None of these patterns can backtrack for long: no two adjacent parts match the same characters.
const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})[ \t](.*)$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}>/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( {1,4}(?=\S)|[ \t]*$)/;
const TABLE_RULE = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?$/;
const BLANK = /^[ \t]*$/;

/** Longer paragraphs and code are split; otherwise each new token would redraw all of it. */
const MAX_PARAGRAPH_LENGTH = 3_000;
const MAX_CODE_LENGTH = 8_000;

/**
 * The block that begins at `from`, or null if only blank lines follow. `open` is what the previous block left open: a
 * table, whose rows are separate blocks, or code that was split.
 *
 * In the result, `end` is where the next block begins. `closed` says that no text appended later can change this block.
 * `open` is for the next call; `continues` is set if this is the rest of code that was split.
 */
export function nextBlock(source, from, open = null) {
  if (open?.mark) return code(source, from, open, true);
  const row = open && tableRow(source, from, open);
  if (row) return row;
  let line = lineAt(source, from);
  while (isBlank(line)) {
    if (line.next >= source.length) return null;
    line = lineAt(source, line.next);
  }
  if (line.long) return paragraph(source, line);
  const opening = FENCE.exec(line.text);
  if (opening) return code(source, line.next, { mark: opening[1], language: opening[2].trim().split(/\s/)[0] }, false);
  const heading = HEADING.exec(line.text);
  if (heading) {
    const text = heading[2].trim().replace(/[ \t]#+$/, "");
    return { type: "heading", level: heading[1].length, text, end: line.next, closed: line.ended };
  }
  if (RULE.test(line.text)) return { type: "rule", end: line.next, closed: line.ended };
  if (QUOTE.test(line.text)) return quote(source, line);
  if (ITEM.test(line.text)) return item(source, line);
  return table(source, line) ?? paragraph(source, line);
}

/** `long` lines can only be parts of paragraphs and code; their `text` is only their beginning. */
function lineAt(source, start) {
  const newline = source.indexOf("\n", start);
  const ended = newline >= 0;
  const end = ended ? newline : source.length;
  const long = end - start > MAX_PARAGRAPH_LENGTH;
  const text = source.slice(start, long ? start + MAX_PARAGRAPH_LENGTH : end);
  return { start, end, text, long, ended, next: ended ? end + 1 : end };
}

function isBlank(line) {
  return !line.long && BLANK.test(line.text);
}

function* linesFrom(source, start) {
  for (let at = start; at < source.length; ) {
    const line = lineAt(source, at);
    yield line;
    at = line.next;
  }
}

function code(source, from, fence, continues) {
  const closing = new RegExp(`^ {0,3}\\${fence.mark[0]}{${fence.mark.length},}[ \\t]*$`);
  const block = { type: "code", language: fence.language, continues };
  for (const line of linesFrom(source, from)) {
    if (!line.long && closing.test(line.text)) {
      return { ...block, text: source.slice(from, Math.max(from, line.start - 1)), end: line.next, closed: line.ended };
    }
    if (line.end - from > MAX_CODE_LENGTH) {
      const cut = line.start > from ? line.start : wholeCharacters(source, from + MAX_CODE_LENGTH);
      const text = source.slice(from, source[cut - 1] === "\n" ? cut - 1 : cut);
      return { ...block, text, end: cut, closed: true, open: fence };
    }
  }
  return { ...block, text: source.slice(from), end: source.length, closed: false };
}

function quote(source, first) {
  const inner = [];
  for (const line of linesFrom(source, first.start)) {
    if (line.long || !QUOTE.test(line.text) || line.start - first.start > MAX_CODE_LENGTH) {
      return { type: "quote", text: inner.join("\n"), end: line.start, closed: line.ended || line.long };
    }
    inner.push(line.text.replace(/^ {0,3}> ?/, ""));
  }
  return { type: "quote", text: inner.join("\n"), end: source.length, closed: false };
}

/** One item of a list. Adjacent items are put into a list when they are drawn. */
function item(source, first) {
  const [, indent, marker, gap] = ITEM.exec(first.text);
  const inside = indent.length + marker.length + Math.max(1, gap.length);
  const indented = new RegExp(`^ {${Math.min(inside, 2)},}`);
  const inner = [first.text.slice(indent.length + marker.length + gap.length)];
  const block = { type: "item", ordered: /\d/.test(marker), number: parseInt(marker, 10) || 0 };
  let blank = false;
  for (const line of linesFrom(source, first.next)) {
    const outside = !indented.test(line.text) && (blank || startsBlock(line));
    if (!isBlank(line) && (outside || line.long || line.start - first.start > MAX_CODE_LENGTH)) {
      return { ...block, text: inner.join("\n"), end: line.start, closed: line.ended || line.long };
    }
    blank = isBlank(line);
    inner.push(line.text.replace(new RegExp(`^ {0,${inside}}`), ""));
  }
  return { ...block, text: inner.join("\n"), end: source.length, closed: false };
}

function table(source, first) {
  if (!first.text.includes("|") || !first.ended) return null;
  const rule = lineAt(source, first.next);
  if (rule.long || !TABLE_RULE.test(rule.text.trim())) return null;
  const head = cells(first.text);
  const alignments = cells(rule.text).map((cell) => (/^:-+:$/.test(cell) ? "center" : /-:$/.test(cell) ? "end" : "start"));
  if (alignments.length !== head.length) return null;
  return { type: "table", cells: head, alignments, end: rule.next, closed: rule.ended, open: { alignments } };
}

function tableRow(source, from, open) {
  const { alignments } = open;
  const line = lineAt(source, from);
  if (line.long || !line.text.includes("|")) return null;
  return { type: "row", cells: cells(line.text).slice(0, alignments.length), alignments, end: line.next, closed: line.ended, open };
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function paragraph(source, first) {
  const block = { type: "paragraph" };
  for (const line of linesFrom(source, first.start)) {
    const over = line.start > first.start && (isBlank(line) || startsBlock(line));
    if (over) return { ...block, text: source.slice(first.start, line.start - 1), end: line.start, closed: line.ended };
    if (line.end - first.start > MAX_PARAGRAPH_LENGTH) return cutParagraph(source, first.start);
  }
  return { ...block, text: source.slice(first.start), end: source.length, closed: false };
}

/** Split at the last space, if there is one nearby. */
function cutParagraph(source, start) {
  const limit = wholeCharacters(source, start + MAX_PARAGRAPH_LENGTH);
  const space = Math.max(source.lastIndexOf(" ", limit), source.lastIndexOf("\n", limit));
  const end = space > start + MAX_PARAGRAPH_LENGTH / 2 ? space + 1 : limit;
  return { type: "paragraph", text: source.slice(start, end), end, closed: true, runsOn: true };
}

/** An offset at or before `at` that does not split a surrogate pair. */
function wholeCharacters(source, at) {
  const before = source.charCodeAt(at - 1);
  return before >= 0xd800 && before < 0xdc00 ? at - 1 : at;
}

function startsBlock({ text, long }) {
  return !long && [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(text));
}
