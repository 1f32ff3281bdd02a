// Growing Markdown as elements: finished blocks are drawn once, and only what may still change is redrawn.

import { copyButton } from "../../shell/clipboard.js";
import { el } from "../../shell/dom.js";
import { nextBlock } from "./blocks.js";
import { appendInline, appendText } from "./inline.js";

const DEEPEST = 6;

/** A view of one text, in `element`. */
export class MarkdownView {
  element = el("div", { class: "markdown", dir: "auto" });
  #read = 0;
  #open = null;
  #tentative = [];

  /**
   * Show `source`, which extends what was shown before; `complete` says that no more will come. Returns false if the time
   * until `deadline` was too short.
   */
  update(source, complete, deadline) {
    let growing = this.#takeBackTentative();
    let certain = true;
    let [at, open] = [this.#read, this.#open];
    while (at < source.length) {
      const block = nextBlock(source, at, open);
      if (!block) {
        this.#skipBlankLines(source, certain && at);
        break;
      }
      certain &&= block.closed || complete;
      const placed = place(this.element, block, 0, growing);
      growing = null;
      [at, open] = [block.end, block.open ?? null];
      if (certain) [this.#read, this.#open] = [at, open];
      else this.#tentative.push({ node: placed, block });
      if (at < source.length && performance.now() > deadline) return false;
    }
    return true;
  }

  /** Handles the case that only blank lines follow `from`: if that is final, they are skipped and end a table. */
  #skipBlankLines(source, from) {
    const lastLine = source.lastIndexOf("\n") + 1;
    if (from !== false && lastLine > from) [this.#read, this.#open] = [lastLine, null];
  }

  /** Remove what was not final. A lone code block is returned instead, so that its text can be extended. */
  #takeBackTentative() {
    const [first] = this.#tentative;
    for (const { node } of this.#tentative) {
      const parent = node.parentNode;
      node.remove();
      if (node.tagName === "LI" && !parent.hasChildNodes()) parent.remove();
    }
    this.#tentative = [];
    return first?.block.type === "code" && !first.block.continues ? first.node : null;
  }
}

/** Draw `block` and append it to `parent`, or to the list or code that it belongs to. Returns what was added. */
function place(parent, block, depth, growing = null) {
  const last = parent.lastElementChild;
  if (block.type === "item") {
    const list = sameList(last, block) ? last : parent.appendChild(newList(block));
    return list.appendChild(listItem(block, depth));
  }
  if (block.type === "row") return last.querySelector("tbody").appendChild(row("td", block));
  if (block.type === "code") {
    if (block.continues && last?.className === "code") return last.lastElementChild.appendChild(codeText(block));
    return parent.appendChild(codeBlock(block, growing));
  }
  const node = DRAWN[block.type](block, depth);
  if (last?.dataset.runsOn !== undefined && block.type === "paragraph") node.classList.add("run-on");
  if (block.runsOn) node.dataset.runsOn = "";
  return parent.appendChild(node);
}

const DRAWN = {
  heading: (block) => inline(el(`h${Math.min(block.level + 2, 6)}`, { dir: "auto" }), block.text),
  paragraph: (block) => inline(el("p", { dir: "auto" }), block.text),
  rule: () => el("hr"),
  quote: (block, depth) => inner(el("blockquote", { dir: "auto" }), block.text, depth),
  table: (block) => el("div", { class: "table", tabIndex: 0, role: "group", "aria-label": "Table" }, table(block)),
};

function inline(element, text) {
  appendInline(element, text);
  return element;
}

/** Draw the blocks within a block; beyond a certain depth, their plain text. */
function inner(element, text, depth) {
  if (depth >= DEEPEST) {
    appendText(element, text);
    return element;
  }
  for (let at = 0, open = null; at < text.length; ) {
    const block = nextBlock(text, at, open);
    if (!block) break;
    place(element, block, depth + 1);
    [at, open] = [block.end, block.open ?? null];
  }
  return element;
}

function sameList(element, block) {
  return element?.tagName === (block.ordered ? "OL" : "UL");
}

function newList(block) {
  return block.ordered ? el("ol", { start: block.number }) : el("ul");
}

function listItem(block, depth) {
  const task = /^\[([ xX])\] +(.*)$/s.exec(block.text);
  const box = task && el("input", { type: "checkbox", disabled: true, checked: task[1] !== " ", "aria-label": "Done" });
  const item = inner(el("li", { dir: "auto", class: task && "task" }), task ? task[2] : block.text, depth);
  const only = item.children.length === 1 && item.firstElementChild.tagName === "P" ? item.firstElementChild : null;
  if (only) only.replaceWith(...only.childNodes);
  if (box) item.prepend(box);
  return item;
}

/** `growing` is the element of the same block drawn before: if its text only grew, just the rest is appended. */
function codeBlock(block, growing) {
  const text = growing?.querySelector("code").lastChild;
  if (text?.nodeType === Node.TEXT_NODE && growing.dataset.language === block.language) {
    const shown = growing.querySelector("code").textContent;
    if (block.text.startsWith(shown)) {
      text.appendData(block.text.slice(shown.length));
      return growing;
    }
  }
  const pre = el("pre", { tabIndex: 0, dir: "ltr", "aria-label": "Code" }, codeText(block));
  const bar = el("div", { class: "code-bar" }, el("span", {}, block.language || "text"), copyButton(() => codeOf(pre)));
  return el("div", { class: "code", "data-language": block.language }, bar, pre);
}

function codeText(block) {
  const code = el("code");
  appendText(code, block.text);
  return code;
}

function codeOf(pre) {
  return [...pre.children].map((code) => code.textContent).join("\n");
}

function table(head) {
  return el("table", {}, el("thead", {}, row("th", head)), el("tbody"));
}

function row(tag, { cells, alignments }) {
  return el("tr", {}, ...cells.map((cell, column) => inline(el(tag, { dir: "auto", class: alignments[column] }), cell)));
}
