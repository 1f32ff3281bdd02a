// Finished requests as points: one quantity against another.

import { svg } from "../shell/dom.js";
import { Plot } from "./plot.js";
import { adaptive } from "./scale.js";

/** `x` and `y` are {label, read, format}; `series` are {label, look, holds}, and a request is in the first that holds. */
export class Scatter {
  #plot;
  #x;
  #y;
  #series;
  #points = [];

  constructor(parent, { title, hint, x, y, series }) {
    this.#x = x;
    this.#y = y;
    this.#series = series;
    this.#plot = new Plot(parent, { title, hint, series, table: () => this.#table(), onResize: () => this.#draw() });
  }

  show(requests) {
    const there = (value) => value !== null && value > 0;
    this.#points = requests.filter((request) => there(this.#x.read(request)) && there(this.#y.read(request)));
    this.#draw();
  }

  #draw() {
    const plot = this.#plot;
    const [across, up] = [adaptive(this.#points.map(this.#x.read)), adaptive(this.#points.map(this.#y.read))];
    const paths = this.#series.map(() => "");
    for (const request of this.#points) {
      const [x, y] = [plot.x(across.place(this.#x.read(request))), plot.y(up.place(this.#y.read(request)))];
      const which = this.#series.findIndex(({ holds }) => holds(request));
      // A stroke of zero length with round caps is a dot, so that one path draws them all.
      paths[which] += `M${x.toFixed(1)} ${y.toFixed(1)}h0`;
    }
    const ticks = (scale, format) => scale.ticks.map((tick) => ({ at: scale.place(tick), label: format(tick) }));
    plot.draw({
      xTicks: ticks(across, this.#x.format),
      yTicks: ticks(up, this.#y.format),
      marks: paths.map((d, index) => svg("path", { d, class: `dots ${this.#series[index].look}` })),
      summary: `${this.#points.length} requests: ${this.#y.label} against ${this.#x.label}.`,
      note: `Across: ${this.#x.label}. Up: ${this.#y.label}.`,
      nothing: this.#points.length ? "" : "No request has ended yet",
    });
  }

  #table() {
    const rows = this.#points.slice(-50).reverse();
    return {
      head: [this.#x.label, this.#y.label],
      rows: rows.map((request) => [this.#x, this.#y].map(({ read, format }) => format(read(request)))),
    };
  }
}
