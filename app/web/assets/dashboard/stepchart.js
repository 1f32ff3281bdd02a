// What the latest steps computed: a bar per step, decode below and prefill above.

import { svg } from "../shell/dom.js";
import { clock, count, seconds } from "./format.js";
import { MAX_STEPS } from "./history.js";
import { Plot } from "./plot.js";
import { linear } from "./scale.js";

const LOOKS = [
  { label: "Decode", look: "decode", read: (step) => step.decode_tokens },
  { label: "Prefill", look: "prefill", read: (step) => step.prefill_tokens },
];

export class StepChart {
  #plot;
  #steps = [];

  constructor(parent) {
    this.#plot = new Plot(parent, {
      title: "Batch composition, tokens of a step",
      hint: `The latest ${MAX_STEPS} steps, the newest on the right: decoded tokens, and prompt tokens computed with them.`,
      series: LOOKS,
      table: () => this.#table(),
      onResize: () => this.#draw(),
    });
    this.#plot.onPoint((share) => this.#describe(share));
  }

  show(steps) {
    this.#steps = steps;
    this.#draw();
  }

  #draw() {
    const plot = this.#plot;
    const most = this.#steps.reduce((a, step) => Math.max(a, step.decode_tokens + step.prefill_tokens), 0);
    const scale = linear(most);
    const width = (plot.x(1) - plot.x(0)) / MAX_STEPS;
    const bars = LOOKS.map(() => "");
    this.#steps.forEach((step, index) => {
      let sum = 0;
      LOOKS.forEach(({ read }, layer) => {
        const [bottom, top] = [plot.y(scale.place(sum)), plot.y(scale.place((sum += read(step))))];
        const left = plot.x(this.#share(index)) - width / 2;
        if (top < bottom) bars[layer] += `M${left.toFixed(1)} ${bottom.toFixed(1)}V${top.toFixed(1)}h${(width * 0.82).toFixed(2)}V${bottom.toFixed(1)}Z`;
      });
    });
    const last = this.#steps.at(-1);
    plot.draw({
      xTicks: [{ at: 0, label: `−${MAX_STEPS} steps` }, { at: 1, label: "newest" }],
      yTicks: scale.ticks.map((tick) => ({ at: scale.place(tick), label: count(tick) })),
      marks: bars.map((d, layer) => svg("path", { d, class: `bar ${LOOKS[layer].look}` })),
      summary: last ? `The newest step: ${this.#words(last).join(", ")}.` : "No step yet.",
      nothing: last ? "" : "No step yet",
    });
  }

  /** The middle of a bar; the newest is always the rightmost. */
  #share(index) {
    return 1 - (this.#steps.length - index - 0.5) / MAX_STEPS;
  }

  #words(step) {
    return [...LOOKS.map(({ label, read }) => `${label} ${count(read(step))}`), `took ${seconds(step.seconds)}`];
  }

  #describe(share) {
    const index = Math.round(this.#steps.length - 0.5 - (1 - share) * MAX_STEPS);
    const step = this.#steps[index];
    return step ? { at: this.#share(index), lines: [clock(step.time), ...this.#words(step)] } : null;
  }

  #table() {
    const rows = this.#steps.slice(-20).reverse();
    return {
      head: ["Time", "Decode", "Prefill", "Duration"],
      rows: rows.map((step) => [clock(step.time), ...LOOKS.map(({ read }) => count(read(step))), seconds(step.seconds)]),
    };
  }
}
