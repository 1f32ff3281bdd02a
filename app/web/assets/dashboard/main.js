// The dashboard: everything is drawn from one stream of statistics.

import { byId, el } from "../shell/dom.js";
import { ServerHealth } from "../shell/health.js";
import { Banner } from "./banner.js";
import { Bars } from "./bars.js";
import { makeCharts } from "./charts.js";
import { follow } from "./feed.js";
import { bytes, count } from "./format.js";
import { History } from "./history.js";
import { Pool } from "./pool.js";
import { StepChart } from "./stepchart.js";
import { RequestTable } from "./table.js";
import { Tiles } from "./tiles.js";

const REASON_LOOKS = { stop: "good", length: "decode", abort: "quiet" };

const history = new History();
const banner = new Banner();
const tiles = new Tiles(byId("tiles"));
const charts = makeCharts(byId("charts"), byId("scatters"));
const steps = new StepChart(byId("charts"));
const pool = new Pool(byId("cache"));
const reasons = new Bars(byId("ends"), {
  title: "How requests ended",
  hint: "Since the server started.",
  nothing: "None has ended yet.",
  look: (reason) => REASON_LOOKS[reason] ?? "bad",
});
const causes = new Bars(byId("ends"), {
  title: "Errors by cause",
  hint: "Answers that were errors, by their code, since the server started.",
  nothing: "None.",
  look: () => "bad",
});
const table = new RequestTable(byId("requests"));

let isPaused = false;
let range = 60;
let isDrawing = false;

function draw() {
  isDrawing = false;
  if (!history.now || isPaused) return;
  tiles.show(history);
  const end = history.frames.at(-1)?.time ?? Date.now() / 1e3;
  charts.show(history, range, end);
  steps.show(history.steps);
  pool.show(history.frames.at(-1), history.now.engine);
  reasons.show(history.now.finish_reasons);
  causes.show(history.now.error_causes);
  table.show(history.requests);
  byId("engine").textContent = describe(history.now);
}

/** Draws at most once per frame, however many events arrive together. */
function drawSoon() {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(draw);
}

function describe({ model, version, engine }) {
  const parts = [model];
  if (engine) {
    const weights = engine.quantization === "none" ? engine.dtype : engine.quantization;
    parts.push(`${count(engine.num_parameters)} parameters in ${weights}`, `${engine.backend} on ${engine.device}`);
    parts.push(`KV cache ${bytes(engine.kv_cache_bytes)}`, `up to ${count(engine.max_model_len)} tokens`);
  }
  return [...parts, `Millrace ${version}`].join(" · ");
}

function makeControls() {
  const pause = el("button", { class: "button", type: "button", "aria-pressed": "false" }, "Pause");
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Resume" : "Pause";
    drawSoon();
  });
  const options = [[60, "1 minute"], [300, "5 minutes"]].map(([value, label]) => el("option", { value }, label));
  const choice = el("select", { class: "field", "aria-label": "Time shown" }, ...options);
  choice.addEventListener("change", () => {
    range = Number(choice.value);
    drawSoon();
  });
  byId("controls").append(choice, pause);
}

makeControls();
const health = new ServerHealth();
health.show();
health.check();
follow(
  (event) => {
    history.take(event);
    drawSoon();
  },
  (state) => (state === "live" ? banner.live(history.now) : banner[state]()),
);
