// The view of one part of a reply: text as Markdown or JSON, collapsed reasoning, or a tool call as a card.

import { copyButton } from "../shell/clipboard.js";
import { el } from "../shell/dom.js";
import { icon } from "../shell/icons.js";
import { appendText } from "./markdown/inline.js";
import { MarkdownView } from "./markdown/view.js";
import { prettyJson } from "./segments.js";
import { TextView } from "./text_view.js";

/** Longer JSON is shown as it is, because formatting it would take longer than a frame. */
const MAX_JSON_LENGTH = 100_000;
const MAX_NAME_LENGTH = 200;

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

  /**
   * Returns false if the time until `deadline` was too short. `complete` says that no more will come, `isAll` that the
   * reply has no other part.
   */
  update(segment, { complete, isAll, deadline }) {
    if (this.kind === "tool") return this.#updateTool(segment, complete, deadline);
    if (this.kind === "reasoning") this.#updateHeading(segment.text, complete);
    const json = complete && isAll && this.kind === "text" ? this.#wholeJson(segment.text) : null;
    if (json === null) return this.#markdown.update(segment.text, complete, deadline);
    if (this.#settled !== segment.text) this.element.replaceChildren(jsonBlock(json));
    this.#settled = segment.text;
    return true;
  }

  #updateHeading(text, complete) {
    if (!complete) this.#heading.textContent = "Reasoning…";
    else if (this.#settled !== text) this.#heading.textContent = `Reasoning · ${words(text)}`;
    this.#settled = complete ? text : "";
  }

  #wholeJson(text) {
    return text.length > MAX_JSON_LENGTH ? null : prettyJson(text);
  }

  /** `<tool_call>` contains {"name", "arguments"} as JSON; a call from the API has the two separately. */
  #updateTool(segment, complete, deadline) {
    const { name, text } = segment.call ? { name: segment.call.name, text: segment.call.arguments } : readCall(segment.text, complete);
    if (this.#heading.textContent !== name) this.#heading.textContent = name || "Tool call";
    if (!complete) return this.#growing(text).update(text, deadline);
    if (this.#settled !== text) this.body.replaceChildren(jsonBlock(prettyJson(text) ?? text));
    this.#settled = text;
    return true;
  }

  /** While it is being written it only grows; it is formatted once it is complete. */
  #growing(text) {
    if (!this.growing) {
      this.growing = new TextView(el("code"));
      this.body.replaceChildren(codeBlock(this.growing.element, () => text));
    }
    return this.growing;
  }
}

/** The name in a call that may still be incomplete. */
function readCall(text, complete) {
  const name = /"name"\s*:\s*"([^"\\]{1,80})"/.exec(text.slice(0, MAX_NAME_LENGTH))?.[1] ?? "";
  if (!complete) return { name, text };
  try {
    const call = JSON.parse(text);
    return typeof call?.name === "string" ? { name: call.name, text: JSON.stringify(call.arguments ?? {}) } : { name, text };
  } catch {
    return { name, text };
  }
}

function jsonBlock(text) {
  const code = el("code");
  appendText(code, text.trim());
  return codeBlock(code, () => text);
}

function codeBlock(code, copied) {
  const bar = el("div", { class: "code-bar" }, el("span", {}, "json"), copyButton(copied));
  return el("div", { class: "code" }, bar, el("pre", { tabIndex: 0, dir: "ltr", "aria-label": "JSON" }, code));
}

function words(text) {
  const count = (text.match(/\S+/g) ?? []).length;
  return `${count.toLocaleString("en")} ${count === 1 ? "word" : "words"}`;
}
