// A quantity over the last minutes, as lines or stacked areas.

import { svg } from "../shell/dom.js";
import { clock, orDash } from "./format.js";
import { Plot, line } from "./plot.js";
import { linear } from "./scale.js";

const GAP_SECONDS = 3;
const TABLE_ROWS = 20;

/**
 * `series` are {label, look, read}, where `read` returns a number or null for a frame. `stacked` areas are on top of each
 * other, the first at the bottom. `most` returns the minimum of the upper end of the y axis.
 */
export class TimeChart {
  #plot;
  #series;
  #format;
  #stacked;
  #most;
  #frames = [];
  #range = 60;
  #end = 0;

  constructor(parent, { title, hint, series, format, stacked = false, most = () => 0 }) {
    this.#series = series;
    this.#format = orDash(format);
    this.#stacked = stacked;
    this.#most = most;
    this.#plot = new Plot(parent, { title, hint, series, table: () => this.#table(), onResize: () => this.#draw() });
    this.#plot.onPoint((share) => this.#describe(share));
  }

  /** Show the frames of the last `range` seconds before `end`, in seconds since the epoch. */
  show(frames, range, end) {
    this.#range = range;
    this.#end = end;
    this.#frames = frames.filter((frame) => frame.time >= end - range);
    this.#draw();
  }

  #draw() {
    const rows = this.#frames.map((frame) => this.#values(frame));
    const highest = rows.flat().reduce((a, b) => Math.max(a, b ?? 0), this.#most());
    const scale = linear(highest);
    const place = (value) => this.#plot.y(scale.place(value));
    const marks = this.#series.map(({ look }, index) =>
      this.#stacked ? this.#area(rows, index, look, place) : this.#line(rows, index, look, place),
    );
    this.#plot.draw({
      xTicks: this.#times(),
      yTicks: scale.ticks.map((tick) => ({ at: scale.place(tick), label: this.#format(tick) })),
      // The lowest area is drawn last, on top of those above it.
      marks: marks.reverse(),
      summary: this.#summary(),
      nothing: rows.flat().every((value) => value === null) ? "Nothing in this time" : "",
    });
  }

  /** The values of a frame; stacked ones include all below them. */
  #values(frame) {
    let sum = 0;
    return this.#series.map(({ read }) => (this.#stacked ? (sum += read(frame) ?? 0) : read(frame)));
  }

  #share(frame) {
    return 1 - (this.#end - frame.time) / this.#range;
  }

  #points(rows, index, place) {
    const points = [];
    this.#frames.forEach((frame, row) => {
      const value = rows[row][index];
      if (row && frame.time - this.#frames[row - 1].time > GAP_SECONDS) points.push(null);
      points.push(value === null ? null : [this.#plot.x(this.#share(frame)), place(value)]);
    });
    return points;
  }

  #line(rows, index, look, place) {
    return svg("path", { d: line(this.#points(rows, index, place)), class: `line ${look}` });
  }

  #area(rows, index, look, place) {
    const base = this.#plot.y(0);
    const parts = [[]];
    for (const point of this.#points(rows, index, place)) point ? parts.at(-1).push(point) : parts.push([]);
    const closed = (part) => `${line(part)}L${part.at(-1)[0].toFixed(1)} ${base}L${part[0][0].toFixed(1)} ${base}Z`;
    return svg("path", { d: parts.filter((part) => part.length).map(closed).join(""), class: `area ${look}` });
  }

  #times() {
    const label = (ago) => (ago === 0 ? "now" : this.#range > 120 ? `−${ago / 60} min` : `−${ago} s`);
    const ticks = this.#plot.width < 380 ? 2 : this.#range > 120 ? 5 : 4;
    return Array.from({ length: ticks + 1 }, (_, index) => {
      const ago = this.#range * (1 - index / ticks);
      return { at: index / ticks, label: label(Number(ago.toFixed(1))) };
    });
  }

  #readings(frame) {
    return this.#series.map(({ label, read }) => `${label} ${this.#format(read(frame))}`);
  }

  #summary() {
    const last = this.#frames.at(-1);
    return last ? `Now: ${this.#readings(last).join(", ")}.` : "Nothing yet.";
  }

  #describe(share) {
    if (!this.#frames.length) return null;
    const distance = (frame) => Math.abs(this.#share(frame) - share);
    const nearest = this.#frames.reduce((a, b) => (distance(b) < distance(a) ? b : a));
    return { at: this.#share(nearest), lines: [clock(nearest.time), ...this.#readings(nearest)] };
  }

  #table() {
    const every = Math.max(1, Math.floor(this.#frames.length / TABLE_ROWS));
    const shown = this.#frames.toReversed().filter((_, index) => index % every === 0);
    const row = (frame) => [clock(frame.time), ...this.#series.map(({ read }) => this.#format(read(frame)))];
    return { head: ["Time", ...this.#series.map(({ label }) => label)], rows: shown.map(row) };
  }
}
