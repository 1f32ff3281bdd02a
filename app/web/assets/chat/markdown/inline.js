// The inline content of a block: emphasis, code, links. Everything becomes elements and text nodes, never markup.

import { el } from "../../shell/dom.js";

const SPECIAL = /[\\`*_~[!<h]/g;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const ADDRESS = /https?:\/\/[^\s<>"')\]]*[^\s<>"')\].,;:!?]/y;
const BRACKETED_ADDRESS = /<((?:https?:\/\/|mailto:)[^\s<>]*)>/y;
const LINK = /!?\[([^[\]\n]{0,500})\]\(\s*<?([^\s()<>]+(?:\([^\s()<>]*\)[^\s()<>]*)*)>?(?:\s+"[^"\n]*")?\s*\)/y;
const MARKS = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];
const WORD = /[\p{L}\p{N}]/u;
const SCHEMES = new Set(["http:", "https:", "mailto:"]);
const DIRECTION_CONTROLS = /[\u202a-\u202e\u2066-\u2069]/g;
const DEEPEST = 6;

/** Append `text`, parsed as Markdown, to `parent`. */
export function appendInline(parent, text, depth = 0) {
  const missing = new Set();
  let plainFrom = 0;
  let at = 0;
  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const special = SPECIAL.exec(text);
    if (!special) break;
    at = special.index;
    const found = depth < DEEPEST ? read(text, at, missing) : null;
    if (!found) {
      at += text[at] === "`" ? runLength(text, at) : 1;
      continue;
    }
    appendText(parent, text.slice(plainFrom, at));
    if (found.element) parent.append(found.element);
    if (found.plain) appendText(found.element ?? parent, found.plain);
    if (found.inner) appendInline(found.element, found.inner, depth + 1);
    at = plainFrom = found.end;
  }
  appendText(parent, text.slice(plainFrom));
}

/**
 * Append `text` as it is. Bidirectional control characters are shown by name, because they can make code and addresses
 * look like something else.
 */
export function appendText(parent, text) {
  let from = 0;
  for (const control of text.matchAll(DIRECTION_CONTROLS)) {
    const name = `U+${control[0].charCodeAt(0).toString(16).toUpperCase()}`;
    parent.append(text.slice(from, control.index), el("span", { class: "control", title: "A direction control" }, name));
    from = control.index + 1;
  }
  if (from < text.length) parent.append(text.slice(from));
}

/** What begins at `at`: an element with `inner` Markdown or `plain` text, or plain text alone; null if there is none. */
function read(text, at, missing) {
  switch (text[at]) {
    case "\\":
      return ESCAPABLE.test(text[at + 1] ?? "") ? { plain: text[at + 1], end: at + 2 } : null;
    case "`":
      return codeSpan(text, at, missing);
    case "<":
      return address(text, at, BRACKETED_ADDRESS);
    case "h":
      return WORD.test(text[at - 1] ?? "") ? null : address(text, at, ADDRESS);
    case "!":
    case "[":
      return link(text, at);
    default:
      return emphasis(text, at, missing);
  }
}

function codeSpan(text, at, missing) {
  const mark = "`".repeat(runLength(text, at));
  if (missing.has(mark)) return null;
  for (let close = text.indexOf(mark, at + mark.length); close >= 0; ) {
    const length = runLength(text, close);
    if (length === mark.length) {
      const plain = text.slice(at + length, close).replace(/^ (.*\S.*) $/s, "$1");
      return { element: el("code"), plain, end: close + length };
    }
    close = text.indexOf(mark, close + length);
  }
  missing.add(mark);
  return null;
}

function runLength(text, at) {
  let end = at + 1;
  while (text[end] === text[at]) end++;
  return end - at;
}

function address(text, at, pattern) {
  pattern.lastIndex = at;
  const found = pattern.exec(text);
  const target = found && safeTarget(found[1] ?? found[0]);
  return target ? { element: anchor(target), plain: found[1] ?? found[0], end: pattern.lastIndex } : null;
}

/** A link whose target is no web address remains text. An image becomes a link, so that nothing is loaded remotely. */
function link(text, at) {
  LINK.lastIndex = at;
  const found = LINK.exec(text);
  const target = found && safeTarget(found[2]);
  if (!target) return null;
  return { element: anchor(target), inner: found[1] || found[2], end: LINK.lastIndex };
}

function safeTarget(address) {
  try {
    const url = new URL(address);
    return SCHEMES.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function anchor(target) {
  return el("a", { href: target, title: target, target: "_blank", rel: "noopener noreferrer nofollow" });
}

function emphasis(text, at, missing) {
  for (const [mark, tag] of MARKS) {
    if (!text.startsWith(mark, at) || missing.has(mark)) continue;
    const from = at + mark.length;
    if (/\s/.test(text[from] ?? " ") || (mark[0] === "_" && WORD.test(text[at - 1] ?? ""))) continue;
    const close = closing(text, mark, from);
    if (close > from) return { element: el(tag), inner: text.slice(from, close), end: close + mark.length };
    if (close < 0) missing.add(mark);
  }
  return null;
}

function closing(text, mark, from) {
  for (let close = text.indexOf(mark, from); close >= 0; close = text.indexOf(mark, close + 1)) {
    const before = text[close - 1];
    if (/\s|\\/.test(before)) continue;
    if (mark === "*" && (before === "*" || text[close + 1] === "*")) continue;
    if (mark[0] === "_" && WORD.test(text[close + mark.length] ?? "")) continue;
    // In `***both***` the inner marker closes first.
    return mark.length === 2 && text[close + 2] === mark[0] ? close + 1 : close;
  }
  return -1;
}
