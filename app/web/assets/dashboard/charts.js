// The charts of the dashboard, and what each shows.

import { count, percent, seconds } from "./format.js";
import { Scatter } from "./scatter.js";
import { TimeChart } from "./timechart.js";
import { rate } from "./tiles.js";

const perSecond = (name) => (frame) => rate([frame], name);

const percentiles = (name) =>
  [["p50", "Median"], ["p90", "90 %"], ["p99", "99 %"]].map(([key, label]) => ({
    label,
    look: key,
    read: (frame) => frame[`${name}_${key}`],
  }));

const TIME_CHARTS = [
  {
    title: "Tokens per second",
    hint: "What the engine computes: output tokens, and prompt tokens not found in the cache.",
    format: count,
    series: [
      { label: "Output", look: "decode", read: perSecond("output_tokens") },
      { label: "Prefill", look: "prefill", read: perSecond("prefill_tokens") },
    ],
  },
  {
    title: "Sequences",
    hint: "Sequences in the running batch, and waiting ones above.",
    format: count,
    stacked: true,
    most: () => 4,
    series: [
      { label: "Running", look: "running", read: (frame) => frame.running },
      { label: "Waiting", look: "waiting", read: (frame) => frame.waiting },
    ],
  },
  {
    title: "Time to first token",
    hint: "From arrival to the first output token, over the last 10\u00a0s.",
    format: seconds,
    series: percentiles("ttft"),
  },
  {
    title: "Inter-token latency",
    hint: "Time between two output tokens of a sequence, over the last 10\u00a0s.",
    format: seconds,
    series: percentiles("itl"),
  },
  {
    title: "End-to-end time",
    hint: "From arrival to the end of complete requests, over the last 10\u00a0s.",
    format: seconds,
    series: percentiles("e2e"),
  },
  {
    title: "Prefix-cache hit rate",
    hint: "Share of the prompt tokens looked up that were found.",
    format: percent,
    most: () => 1,
    series: [
      { label: "Found", look: "cached", read: (frame) => (frame.prefix_queried ? frame.prefix_hits / frame.prefix_queried : null) },
    ],
  },
  {
    title: "KV cache, blocks over time",
    hint: "Blocks with content: shared, used by one sequence, or free but still cached.",
    format: count,
    stacked: true,
    series: [
      { label: "Shared", look: "shared", read: (frame) => frame.shared },
      { label: "Used by one", look: "used", read: (frame) => frame.used - frame.shared },
      { label: "Cached", look: "cached", read: (frame) => frame.cached },
    ],
  },
];

const SCATTERS = [
  {
    title: "Time to first token against prompt length",
    hint: "The latest requests. Prompts that are at least half cached start sooner.",
    x: { label: "prompt tokens", read: (request) => request.prompt_tokens, format: count },
    y: { label: "time to first token", read: (request) => request.ttft, format: seconds },
    series: [
      { label: "Found in the cache", look: "cached", holds: (request) => 2 * request.cached_tokens >= request.prompt_tokens },
      { label: "Computed", look: "prefill", holds: () => true },
    ],
  },
  {
    title: "Inter-token latency against concurrency",
    hint: "A request's mean latency, and how many sequences ran while it decoded.",
    x: { label: "sequences running", read: (request) => request.concurrency, format: count },
    y: { label: "mean inter-token latency", read: (request) => request.itl, format: seconds },
    series: [{ label: "Requests", look: "decode", holds: () => true }],
  },
];

/** All charts; `show(history, range, end)` redraws them. */
export function makeCharts(timePlace, scatterPlace) {
  const overTime = TIME_CHARTS.map((chart) => new TimeChart(timePlace, chart));
  const scatters = SCATTERS.map((scatter) => new Scatter(scatterPlace, scatter));
  let drawn = null;
  return {
    show(history, range, end) {
      for (const chart of overTime) chart.show(history.frames, range, end);
      if (history.requests !== drawn) for (const scatter of scatters) scatter.show(history.requests);
      drawn = history.requests;
    },
  };
}
