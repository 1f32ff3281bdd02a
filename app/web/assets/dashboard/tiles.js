// The current state in a few large numbers.

import { el } from "../shell/dom.js";
import { count, orDash, percent, seconds } from "./format.js";

const WINDOW_FRAMES = 10;
const REASONS = { blocks: "for cache blocks", budget: "for the step's token budget", max_num_seqs: "for a place" };

const TILES = [
  { label: "Running", unit: "sequences", read: ({ now }) => [count(now.running)] },
  { label: "Waiting", unit: "sequences", read: ({ now }) => [count(now.waiting), reasons(now.waiting_for)] },
  { label: "Output", unit: "tokens/s", read: ({ recent }) => [count(rate(recent, "output_tokens"))] },
  { label: "Prefill", unit: "tokens/s", read: ({ recent }) => [count(rate(recent, "prefill_tokens"))] },
  { label: "TTFT", unit: "median, 10\u00a0s", read: ({ last }) => [orDash(seconds)(last?.ttft_p50), p99(last?.ttft_p99)] },
  { label: "ITL", unit: "median, 10\u00a0s", read: ({ last }) => [orDash(seconds)(last?.itl_p50), p99(last?.itl_p99)] },
  { label: "Prefix cache", unit: "hits since start", read: ({ now }) => hitRate(now.totals) },
  { label: "KV cache", unit: "in use", read: ({ now, last }) => cacheUse(last, now.engine) },
];

export class Tiles {
  #values = TILES.map(() => el("dd", { class: "value" }));
  #notes = TILES.map(() => el("dd", { class: "more" }));

  constructor(parent) {
    const tile = ({ label, unit }, index) =>
      el("div", { class: "tile card" }, el("dt", {}, label, el("small", {}, unit)), this.#values[index], this.#notes[index]);
    parent.append(el("dl", { class: "tiles" }, ...TILES.map(tile)));
  }

  show(history) {
    const recent = history.frames.slice(-WINDOW_FRAMES);
    const state = { now: history.now, recent, last: history.frames.at(-1) };
    TILES.forEach(({ read }, index) => {
      const [value, note = ""] = read(state);
      this.#values[index].textContent = value;
      this.#notes[index].textContent = note;
    });
  }
}

/** The rate per second of something that frames count. */
export function rate(frames, name) {
  const elapsed = frames.reduce((sum, frame) => sum + frame.seconds, 0);
  return elapsed ? Math.round(frames.reduce((sum, frame) => sum + frame[name], 0) / elapsed) : 0;
}

function reasons(waitingFor) {
  return Object.entries(waitingFor).map(([reason, number]) => `${count(number)} ${REASONS[reason] ?? reason}`).join(", ");
}

function p99(value) {
  return value === null || value === undefined ? "" : `99 % within ${seconds(value)}`;
}

function hitRate({ prefix_queried: queried = 0, prefix_hits: hits = 0 }) {
  return queried ? [percent(hits / queried), `${count(hits)} of ${count(queried)} tokens`] : ["–"];
}

function cacheUse(frame, engine) {
  if (!frame || !engine) return ["–"];
  const tokens = frame.used * engine.block_size;
  return [percent(frame.used / engine.num_blocks), `${count(tokens)} of ${count(engine.num_blocks * engine.block_size)} tokens`];
}
