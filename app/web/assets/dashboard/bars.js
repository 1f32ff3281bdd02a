// Counts by name, as bars on a common scale.

import { el } from "../shell/dom.js";
import { count } from "./format.js";

export class Bars {
  #list = el("ul", { class: "bars", role: "list" });
  #nothing;
  #look;

  constructor(parent, { title, hint, nothing, look }) {
    this.#nothing = nothing;
    this.#look = look;
    const heading = el("h3", {}, title);
    parent.append(el("section", { class: "chart card" }, heading, el("p", { class: "hint" }, hint), this.#list));
  }

  /** `counts` maps names to numbers; the largest comes first. */
  show(counts) {
    const entries = Object.entries(counts).sort(([, one], [, other]) => other - one);
    const most = entries[0]?.[1] ?? 1;
    const bar = ([name, number]) => {
      const filled = el("span", { class: `filled ${this.#look(name)}` });
      filled.style.width = `${(100 * number) / most}%`;
      return el("li", {}, el("span", { class: "name" }, name.replaceAll("_", " ")), el("span", { class: "track" }, filled), el("span", { class: "number" }, count(number)));
    };
    this.#list.replaceChildren(...(entries.length ? entries.map(bar) : [el("li", { class: "hint" }, this.#nothing)]));
  }
}
