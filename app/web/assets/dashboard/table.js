// The latest requests, as a table that can be sorted by any column.

import { el } from "../shell/dom.js";
import { clock, count, orDash, seconds } from "./format.js";

const FEW = 15;

const COLUMNS = [
  { label: "Ended", read: (request) => request.time, format: clock },
  { label: "Prompt", unit: "tokens", read: (request) => request.prompt_tokens, format: count },
  { label: "Cached", unit: "tokens", read: (request) => request.cached_tokens, format: count },
  { label: "Output", unit: "tokens", read: (request) => request.output_tokens, format: count },
  { label: "Queue", read: (request) => request.queue, format: seconds },
  { label: "TTFT", read: (request) => request.ttft, format: seconds },
  { label: "ITL", unit: "mean", read: (request) => request.itl, format: seconds },
  { label: "Total", read: (request) => request.total, format: seconds },
  { label: "Concurrency", unit: "mean", read: (request) => request.concurrency, format: count },
  { label: "Reason", read: (request) => request.reason, format: String, isText: true },
  { label: "Model", read: (request) => request.model, format: String, isText: true },
];

export class RequestTable {
  #body = el("tbody");
  #heads = [];
  #more = el("button", { class: "button", type: "button" });
  #column = 0;
  #descends = true;
  #isWhole = false;
  #requests = [];

  constructor(parent) {
    this.#heads = COLUMNS.map(({ label, unit, isText }, index) => {
      const button = el("button", { type: "button", on: { click: () => this.#sortBy(index) } }, label);
      if (unit) button.append(el("small", {}, ` ${unit}`));
      return el("th", { scope: "col", class: isText ? "text" : "number" }, button);
    });
    const table = el("table", {}, el("thead", {}, el("tr", {}, ...this.#heads)), this.#body);
    const region = { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Recent requests" };
    this.#more.addEventListener("click", () => {
      this.#isWhole = !this.#isWhole;
      this.#draw();
    });
    parent.append(el("div", region, table), this.#more);
    this.#draw();
  }

  show(requests) {
    if (requests === this.#requests) return;
    this.#requests = requests;
    this.#draw();
  }

  #sortBy(index) {
    this.#descends = index === this.#column ? !this.#descends : !COLUMNS[index].isText;
    this.#column = index;
    this.#draw();
  }

  #draw() {
    this.#heads.forEach((head, index) => {
      if (index === this.#column) head.setAttribute("aria-sort", this.#descends ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const sorted = this.#sorted();
    const shown = this.#isWhole ? sorted : sorted.slice(0, FEW);
    const cell = (request, { read, format, isText }) =>
      el("td", { class: isText ? "text" : "number" }, orDash(format)(read(request)));
    const rows = shown.map((request) => el("tr", {}, ...COLUMNS.map((column) => cell(request, column))));
    const nothing = el("tr", {}, el("td", { class: "text", colSpan: COLUMNS.length }, "No request has ended yet."));
    this.#body.replaceChildren(...(rows.length ? rows : [nothing]));
    this.#more.hidden = sorted.length <= FEW;
    this.#more.textContent = this.#isWhole ? `Show ${FEW}` : `Show all ${sorted.length}`;
  }

  /** Missing values come last in either direction. */
  #sorted() {
    const { read } = COLUMNS[this.#column];
    const sign = this.#descends ? -1 : 1;
    const compare = (a, b) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (a < b ? -1 : a > b ? 1 : 0);
    };
    return this.#requests.toSorted((one, other) => compare(read(one), read(other)));
  }
}
