// One part of a reply as it is shown: text as Markdown or JSON, reasoning folded away, a call of a tool as a card.

import { copyButton } from "../shell/clipboard.js";
import { el } from "../shell/dom.js";
import { icon } from "../shell/icons.js";
import { appendText } from "./markdown/inline.js";
import { MarkdownView } from "./markdown/view.js";
import { prettyJson } from "./segments.js";

/** Longer JSON is shown as it came: setting it out would take longer than a frame. */
const LONGEST_JSON = 100_000;

export class SegmentView {
  #markdown = new MarkdownView();
  #heading = el("span");
  #settled = "";

  constructor(kind) {
    this.kind = kind;
    this.element = kind === "text" ? this.#markdown.element : this[kind === "tool" ? "tool" : "reasoning"]();
  }

  reasoning() {
    this.#heading.textContent = "Reasoning";
    return el("details", { class: "reasoning" }, el("summary", {}, this.#heading), this.#markdown.element);
  }

  tool() {
    this.#heading.textContent = "Tool call";
    this.body = el("div");
    return el("section", { class: "tool-call", "aria-label": "Tool call" }, el("h4", {}, icon("sliders"), this.#heading), this.body);
  }

  /** False if there was too much for one frame. `isAll` says that the reply has no other part. */
  update(segment, complete, isAll) {
    if (this.kind === "tool") return this.#updateTool(segment, complete);
    if (this.kind === "reasoning") {
      this.#heading.textContent = complete ? `Reasoning · ${words(segment.text)}` : "Reasoning…";
    }
    const json = complete && isAll && this.kind === "text" ? this.#wholeJson(segment.text) : null;
    if (json === null) return this.#markdown.update(segment.text, complete);
    if (this.#settled !== segment.text) this.element.replaceChildren(jsonBlock(json));
    this.#settled = segment.text;
    return true;
  }

  #wholeJson(text) {
    return text.length > LONGEST_JSON ? null : prettyJson(text);
  }

  /** `<tool_call>` holds {"name", "arguments"} in JSON; a call from the API has both apart. */
  #updateTool(segment, complete) {
    const { name, text } = segment.call ? { name: segment.call.name, text: segment.call.arguments } : readCall(segment.text);
    const state = `${name} ${complete} ${text}`;
    if (state === this.#settled) return true;
    this.#settled = state;
    this.#heading.textContent = name || "Tool call";
    this.body.replaceChildren(jsonBlock((complete && prettyJson(text)) || text));
    return true;
  }
}

function readCall(text) {
  try {
    const call = JSON.parse(text);
    if (typeof call?.name === "string") return { name: call.name, text: JSON.stringify(call.arguments ?? {}) };
  } catch {
    // Not whole yet, or not JSON at all: shown as it is.
  }
  return { name: /"name"\s*:\s*"([^"\\]{1,80})"/.exec(text)?.[1] ?? "", text };
}

function jsonBlock(text) {
  const code = el("code");
  appendText(code, text.trim());
  const bar = el("div", { class: "code-bar" }, el("span", {}, "json"), copyButton(() => text));
  return el("div", { class: "code" }, bar, el("pre", { tabIndex: 0, dir: "ltr", "aria-label": "JSON" }, code));
}

function words(text) {
  const count = (text.match(/\S+/g) ?? []).length;
  return `${count.toLocaleString("en")} ${count === 1 ? "word" : "words"}`;
}
