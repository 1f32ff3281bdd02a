// What all charts have in common: a title, an explanation, a legend, axes with units, and the numbers as a table.

import { el, svg } from "../shell/dom.js";

const LEFT = 58;
const RIGHT = 14;
const TOP = 8;
const BOTTOM = 26;
const HEIGHT = 190;

/**
 * A figure to draw in. `series` are {label, look}, where `look` is the CSS class that determines the colour; `table`
 * returns the chart's numbers as {head, rows}, and is only called while the table is open.
 */
export class Plot {
  #svg = svg("svg", { role: "img", class: "drawing" });
  #axes = svg("g", { class: "axes" });
  #marks = svg("g");
  #note = el("p", { class: "note" });
  #tip = el("div", { class: "tip", hidden: true });
  #details = el("details", { class: "numbers" }, el("summary", {}, "As a table"));
  #drawn = el("div", { class: "drawn" }, this.#svg, this.#tip);
  #table;
  #title;
  width = 480;
  height = HEIGHT;

  constructor(parent, { title, hint, series, table, onResize }) {
    this.#title = title;
    this.#table = table;
    this.#svg.append(this.#axes, this.#marks);
    const legend = series.map(({ label, look }) => el("li", { class: look }, label));
    const heading = el("h3", {}, title);
    const caption = el("figcaption", {}, heading, el("p", { class: "hint" }, hint));
    if (legend.length > 1) caption.append(el("ul", { class: "legend", role: "list" }, ...legend));
    parent.append(el("figure", { class: "chart card" }, caption, this.#drawn, this.#note, this.#details));
    this.#details.addEventListener("toggle", () => this.tabulate());
    new ResizeObserver(([entry]) => {
      const width = Math.round(entry.contentRect.width);
      if (!width || width === this.width) return;
      this.width = width;
      onResize();
    }).observe(this.#drawn);
  }

  /** The horizontal position of a fraction of the x axis, in pixels. */
  x(share) {
    return LEFT + share * (this.width - LEFT - RIGHT);
  }

  /** The vertical position of a fraction of the y axis, in pixels. */
  y(share) {
    return this.height - BOTTOM - share * (this.height - BOTTOM - TOP);
  }

  /** The fraction of the x axis at the pointer. */
  shareAt(event) {
    const box = this.#svg.getBoundingClientRect();
    return (event.clientX - box.left - LEFT) / (this.width - LEFT - RIGHT);
  }

  /**
   * Draw axes with `ticks` of {at, label}, and marks above them. `summary` describes the chart in words, `note` its axes;
   * `nothing` is shown if there is nothing to draw.
   */
  draw({ xTicks, yTicks, marks, summary, note = "", nothing = "" }) {
    this.#svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.#svg.setAttribute("aria-label", `${this.#title}. ${summary}`);
    const base = this.y(0);
    this.#axes.replaceChildren(
      ...yTicks.flatMap(({ at, label }) => [
        svg("line", { x1: this.x(0), x2: this.x(1), y1: this.y(at), y2: this.y(at), class: at ? "grid" : "base" }),
        svg("text", { x: LEFT - 8, y: this.y(at) + 4, class: "end" }, label),
      ]),
      ...xTicks.map(({ at, label }) =>
        svg("text", { x: this.x(at), y: base + 17, class: at < 0.02 ? "start" : at > 0.98 ? "end" : "middle" }, label),
      ),
    );
    this.#marks.replaceChildren(...marks);
    if (nothing) this.#marks.append(svg("text", { x: this.x(0.5), y: this.y(0.5), class: "middle" }, nothing));
    this.#note.textContent = note;
    this.#note.hidden = !note;
    this.tabulate();
  }

  /** Call `describe(share)` for what is under the pointer: {at, lines}, or null for nothing. */
  onPoint(describe) {
    const cursor = svg("line", { class: "cursor", y1: TOP, y2: this.height - BOTTOM, visibility: "hidden" });
    this.#svg.append(cursor);
    const hide = () => {
      this.#tip.hidden = true;
      cursor.setAttribute("visibility", "hidden");
    };
    this.#svg.addEventListener("pointerleave", hide);
    this.#svg.addEventListener("pointermove", (event) => {
      const found = describe(this.shareAt(event));
      if (!found) return hide();
      const x = this.x(found.at);
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, x);
      cursor.setAttribute("visibility", "visible");
      this.#tip.replaceChildren(...found.lines.map((line) => el("span", {}, line)));
      this.#tip.hidden = false;
      const room = this.width - this.#tip.offsetWidth;
      this.#tip.style.transform = `translateX(${Math.max(0, Math.min(room, x + 10))}px)`;
    });
  }

  /** The numbers as a table, if it is open. */
  tabulate() {
    if (!this.#details.open) return;
    const { head, rows } = this.#table();
    const cells = (tag, row) => el("tr", {}, ...row.map((cell) => el(tag, tag === "th" ? { scope: "col" } : {}, cell)));
    const table = el("table", {}, el("thead", {}, cells("th", head)), el("tbody", {}, ...rows.map((row) => cells("td", row))));
    const label = `${this.#title}, as a table`;
    const region = el("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": label }, table);
    const shown = this.#details.querySelector(".scroll");
    // A table that is being read or has been scrolled is not updated until it is opened again.
    if (shown && (shown.scrollTop > 0 || shown.contains(document.activeElement))) return;
    if (shown) shown.replaceWith(region);
    else this.#details.append(region);
  }
}

/** The `d` of a path through points; null points leave a gap. */
export function line(points) {
  let pen = "M";
  return points
    .map((point) => {
      if (!point) {
        pen = "M";
        return "";
      }
      const part = `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
      pen = "L";
      return part;
    })
    .join("");
}
