// A picture of the KV cache: every square stands for the same number of blocks, coloured by their use.

import { el, svg } from "../shell/dom.js";
import { count, percent } from "./format.js";

const SQUARES = 240;
const COLUMNS = 30;
const SIZE = 12;
const GAP = 2;

const KINDS = [
  { name: "shared", label: "Shared by several", hint: "hold a prefix of several running sequences" },
  { name: "used", label: "Used by one", hint: "hold the keys and values of one running sequence" },
  { name: "cached", label: "Free, cached", hint: "free, but can still be found by the prefix that they hold" },
  { name: "free", label: "Free, empty", hint: "hold nothing that could be reused" },
];

export class Pool {
  #drawing = svg("svg", { role: "img", class: "pool" });
  #counts = Object.fromEntries(KINDS.map(({ name }) => [name, el("td", { class: "number" })]));
  #shares = Object.fromEntries(KINDS.map(({ name }) => [name, el("td", { class: "number" })]));
  #note = el("p", { class: "note" });
  #drawn = "";

  constructor(parent) {
    const rows = KINDS.map(({ name, label, hint }) =>
      el("tr", { title: hint }, el("th", { scope: "row", class: `key ${name}` }, label), this.#counts[name], this.#shares[name]),
    );
    const table = el(
      "table",
      { class: "kinds" },
      el("thead", { class: "visually-hidden" }, el("tr", {}, ...["Kind", "Blocks", "Share"].map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, ...rows),
    );
    const caption = el(
      "figcaption",
      {},
      el("h3", {}, "KV cache, blocks now"),
      el("p", { class: "hint" }, "Every square stands for the same number of blocks."),
    );
    parent.append(el("figure", { class: "chart card" }, caption, this.#drawing, table, this.#note));
  }

  /** `frame` has the blocks by use, `engine` their total; either is null while nothing is loaded. */
  show(frame, engine) {
    const total = engine?.num_blocks ?? 0;
    const { used = 0, shared = 0, cached = 0 } = frame ?? {};
    const counts = { shared, used: used - shared, cached, free: total - used - cached };
    for (const { name } of KINDS) {
      this.#counts[name].textContent = count(counts[name]);
      this.#shares[name].textContent = total ? percent(counts[name] / total) : "–";
    }
    const words = KINDS.map(({ name, label }) => `${label} ${counts[name]}`).join(", ");
    this.#drawing.setAttribute("aria-label", total ? `${total} blocks: ${words}.` : "The cache has not been allocated yet.");
    const most = Math.min(SQUARES, total);
    this.#note.textContent = total
      ? `${count(total)} blocks of ${engine.block_size} tokens; a square is ${count(Math.round((10 * total) / most) / 10)} of them.`
      : "The cache is allocated while the model is being loaded.";
    this.#draw(squares(counts, total, most));
  }

  #draw(numbers) {
    const key = numbers.join();
    if (key === this.#drawn) return;
    this.#drawn = key;
    let index = 0;
    const paths = KINDS.map(({ name }, kind) => {
      let d = "";
      for (const end = index + numbers[kind]; index < end; index += 1) {
        const [x, y] = [(index % COLUMNS) * (SIZE + GAP), Math.floor(index / COLUMNS) * (SIZE + GAP)];
        d += `M${x + 1} ${y + 1}h${SIZE - 2}v${SIZE - 2}h${2 - SIZE}z`;
      }
      return svg("path", { d, class: `square ${name}` });
    });
    const rows = Math.max(1, Math.ceil(index / COLUMNS));
    this.#drawing.setAttribute("viewBox", `0 0 ${COLUMNS * (SIZE + GAP) - GAP} ${rows * (SIZE + GAP) - GAP}`);
    this.#drawing.replaceChildren(...paths);
  }
}

/** The number of squares of each kind: in proportion, but at least one if there are any. The last kind gets the rest. */
function squares(counts, total, most) {
  const numbers = KINDS.map(({ name }) => (counts[name] ? Math.max(1, Math.round((counts[name] / total) * most)) : 0));
  let left = most;
  return numbers.map((number, kind) => {
    const given = kind === numbers.length - 1 ? left : Math.min(left, number);
    left -= given;
    return given;
  });
}
