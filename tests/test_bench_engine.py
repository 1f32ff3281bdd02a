"""The benchmark of the engine alone: what it drives, what it counts, what it refuses, and the whole command once."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from app.bench.ceilings import Ceiling, Ceilings
from app.bench.engine.engine import Engine, TimedStep
from app.bench.engine.measure import PARTS, Costs, Decode, Prefill
from app.bench.engine.session import settings_of
from app.bench.engine.settings import EngineBenchSettings, Load, Room
from app.bench.outcome import BenchError
from app.cli import build_parser, main
from app.messages import EngineReady, StepStats
from app.model.cost import AttentionShape, ModelCost
from app.model.kv_cache import LayerShape
from app.scheduler.batch import NO_TOKEN, ModelOutput, ScheduledBatch
from tests.builders import ScriptedRunner, check_blocks, make_core, make_scheduler
from tests.models import make_runner

ROOT = Path(__file__).parent.parent


def options_of(*arguments: str) -> dict[str, Any]:
    return vars(build_parser().parse_args(["bench", *arguments]))


class RecordingRunner(ScriptedRunner):
    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[list[int]] = []

    def execute(self, batch: ScheduledBatch) -> ModelOutput:
        self.prompts += [list(row.sequence.token_ids) for row in batch.rows if row.start == 0]
        return super().execute(batch)


# Driving the engine


@pytest.mark.parametrize("num_streams", [1, 2, 5, 16])
@pytest.mark.parametrize("prompt_tokens", [1, 3, 70])
@pytest.mark.parametrize("budget", [16, 17, 64])
def test_decode_steps_are_those_in_which_every_sequence_decodes(
    num_streams: int, prompt_tokens: int, budget: int
) -> None:
    """However long the prompts of the others take, no sequence ends before the last step is measured."""
    core = make_core(make_scheduler(num_blocks=20_000, max_num_batched_tokens=budget))
    load = Load(num_streams, prompt_tokens, num_steps=5)
    counted: list[int] = []
    steps = Engine(core, 50, seed=1, temperature=0.0).decode(load, counted.append)
    assert [(step.stats.num_decode_tokens, step.stats.num_prefill_tokens) for step in steps] == [(num_streams, 0)] * 5
    assert sum(counted) == 5
    first, last = steps[0].contexts, steps[-1].contexts
    assert [context + 4 for context in first] == list(last)
    assert min(first) > prompt_tokens
    assert max(last) <= load.longest(budget)
    assert not core.has_work
    check_blocks(core.scheduler)


def test_a_prefill_is_measured_chunk_by_chunk_to_its_first_token() -> None:
    core = make_core(make_scheduler(max_num_batched_tokens=16))
    steps = Engine(core, 50, seed=1, temperature=0.0).prefill(40)
    assert [step.stats.num_prefill_tokens for step in steps] == [16, 16, 8]
    assert not core.has_work


def test_prompts_depend_on_the_seed_and_have_no_common_prefix() -> None:
    drawn = []
    for seed in (1, 1, 2):
        runner = RecordingRunner()
        Engine(make_core(runner=runner), 50, seed, temperature=0.0).decode(Load(3, 8, 1), int)
        drawn.append(runner.prompts)
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({tuple(prompt[:4]) for prompt in drawn[0]}) == 3
    assert all(0 <= token_id < 50 for prompt in drawn[0] for token_id in prompt)


def test_a_sequence_that_ends_early_ends_the_benchmark() -> None:
    class Broken(ScriptedRunner):
        def execute(self, batch: ScheduledBatch) -> ModelOutput:
            return ModelOutput([NO_TOKEN for row in batch.rows if row.num_samples])

    with pytest.raises(BenchError, match="not finite"):
        Engine(make_core(runner=Broken()), 50, seed=1, temperature=0.0).decode(Load(2, 8, 4), int)


def test_a_real_step_reports_its_parts() -> None:
    core = make_core(make_scheduler(block_size=16), make_runner("Llama", 100, 16))
    [step] = Engine(core, 50, seed=1, temperature=0.0).decode(Load(2, 8, 1), int)
    parts = {name: part(step) for name, part in PARTS.items()}
    assert min(parts.values()) > 0
    assert sum(parts.values()) == pytest.approx(step.seconds)


# Numbers

MODEL = ModelCost(1000, 200, 0, 0, 0, (AttentionShape(4, LayerShape(2, 8, 8)),) * 2, 2000, 400, 0)


def costs(bandwidth: float, arithmetic: float) -> Costs:
    products = {"float32": Ceiling("test", (1.0,)), "bfloat16": Ceiling("test", (arithmetic,))}
    return Costs(MODEL, 2.0, Ceilings(Ceiling("test", (bandwidth,)), products, 1, 0, 0), "bfloat16")


def timed(milliseconds: float, contexts: tuple[int, ...]) -> TimedStep:
    counts = dict.fromkeys((field.name for field in fields(StepStats)), 0)
    stats = StepStats(**(counts | {"execute_seconds": milliseconds / 1000, "forward_seconds": milliseconds / 2000}))
    return TimedStep(stats, contexts)


def test_rates_are_what_a_step_reads_and_computes_over_its_median_time() -> None:
    steps = [timed(1, (9, 19)), timed(2, (10, 20)), timed(9, (11, 21))]
    decode = Decode.of(Load(2, 8, 3), steps, costs(bandwidth=4e6, arithmetic=1e9))
    num_bytes = 1200 * 2 + 30 * 2 * 2 * 16 * 2
    operations = 2 * (2 * 1000 + 2 * 200 + 30 * 2 * 4 * 16)
    assert (decode.num_bytes, decode.operations, decode.context) == (num_bytes, operations, 15)
    assert decode.step.p50 == 0.002
    assert decode.tokens_per_second == 1000
    assert decode.bandwidth == num_bytes / 0.002
    assert decode.bandwidth_share == pytest.approx(num_bytes / 0.002 / 4e6)
    assert decode.arithmetic_share == pytest.approx(operations / 0.002 / 1e9)
    assert decode.roofline.bound == "memory"
    assert decode.roofline.seconds == num_bytes / 4e6
    assert decode.parts == {"schedule": 0, "inputs": 0, "forward": 0.001, "sample": 0.001, "update": 0}


def test_the_slower_ceiling_binds() -> None:
    decode = Decode.of(Load(1, 8, 1), [timed(1, (9,))], costs(bandwidth=1e9, arithmetic=1e5))
    assert decode.roofline.bound == "arithmetic"
    assert decode.roofline.seconds == decode.operations / 1e5


def test_a_prefill_computes_every_token_up_to_the_last_layer_and_one_row_of_logits() -> None:
    runs = [[timed(1, ()), timed(3, ())], [timed(2, ()), timed(4, ())], [timed(5, ()), timed(5, ())]]
    prefill = Prefill.of(4, runs, costs(bandwidth=1.0, arithmetic=1e6))
    assert prefill.operations == 2 * ((4 + 1) * 500 + 200 + (1 + 2 + 3 + 4 + 4) * 4 * 16)
    assert (prefill.num_steps, prefill.total.p50) == (2, 0.006)
    assert prefill.tokens_per_second == pytest.approx(4 / 0.006)
    assert prefill.arithmetic_share == pytest.approx(prefill.operations / 0.006 / 1e6)


# What fits


def room(max_model_len: int = 1000, num_blocks: int = 1000, max_num_seqs: int = 16) -> Room:
    ready = EngineReady(max_model_len, 50, 16, num_blocks, "cpu", "float32", "sdpa", "none", 1, 1, 4, 1, {})
    return Room(ready, max_num_seqs, max_num_batched_tokens=64)


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ({"streams": (1, 17)}, {}, "17 streams of 128 prompt tokens: --max-num-seqs is 16"),
        ({"prompt_tokens": 950}, {}, "a sequence comes to 1,078 tokens, 1,000 are the most here"),
        ({"streams": (4,)}, {"num_blocks": 40}, "cache, there are 640; --kv-cache-memory gives more"),
        ({"prefill": 1000}, {}, "--prefill 1000 and a token: a sequence comes to 1,001 tokens"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    settings: dict[str, Any], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(BenchError) as refused:
        room(**given).check(EngineBenchSettings(seed=1, **({"streams": (1,)} | settings)))
    assert message in str(refused.value)


def test_by_default_a_prefill_is_as_long_as_fits() -> None:
    settings = EngineBenchSettings(seed=1)
    assert (room(300).prefill(settings), room(5000).prefill(settings)) == (299, 1024)


def test_a_sweep_goes_as_far_as_fits_and_says_what_it_leaves_out() -> None:
    batches, contexts, left_out = room().sweep(EngineBenchSettings(seed=1, prompt_tokens=8))
    assert [load.num_streams for load in batches] == [1, 2, 4, 8, 16]
    assert [load.prompt_tokens + load.num_steps + 1 for load in contexts] == [128, 256, 512]
    assert len(left_out) == 2 + 4
    assert left_out[0] == "32 x 8 prompt tokens are left out: --max-num-seqs is 16"
    assert all(load.longest(64) <= 1000 for load in contexts)


# Options


def test_settings_that_are_not_given_have_their_defaults() -> None:
    settings = settings_of(options_of("--engine", "--seed", "3"))
    assert settings == EngineBenchSettings(seed=3)
    assert [(load.num_streams, load.num_steps) for load in settings.decodes] == [(1, 127), (4, 127), (16, 127)]
    assert len({settings_of(options_of("--engine")).seed for _ in range(4)}) > 1


def test_a_decode_needs_two_tokens() -> None:
    with pytest.raises(BenchError, match="at least 2"):
        settings_of(options_of("--engine", "--output-tokens", "1"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["streams", "--engine"], "the workload does not go with --engine"),
        (["--engine", "--url", "http://x", "--slo", "ttft:1"], "--slo, --url does not go with --engine"),
        (["--streams", "4"], "--streams goes with --engine only"),
        (["--backend", "sdpa"], "--backend goes with --engine only; a server takes it in --server-options"),
        (["--engine", "--block-size", "7"], "--block-size"),
    ],
)
def test_an_option_that_would_be_ignored_ends_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


# The command


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app", "bench", "--engine", "--threads", "1", "--device", "cpu", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_command_prints_its_tables_and_writes_its_files(llama_dir: Path, tmp_path: Path) -> None:
    files = [f"--{kind}={tmp_path / kind}" for kind in ("json", "html")]
    lengths = ["--streams", "1,2", "--prompt-tokens", "8", "--output-tokens", "4", "--sweep", "--seed", "5"]
    ended = run_command("--model", str(llama_dir), *lengths, *files)
    complaints, _, _ = ended.stderr.partition("nanobind: leaked")  # by Triton at the end, where it is installed
    assert (ended.returncode, complaints) == (0, "")
    for expected in ("most reads", "most float32", "start-up", "schedule", "prefill", "cost as the context grows"):
        assert expected in ended.stdout
    check_json(json.loads((tmp_path / "json").read_text()))
    check_page((tmp_path / "html").read_text())


def check_json(found: dict[str, Any]) -> None:
    assert {"date", "commit", "versions", "machine", "seed", "engine"} <= set(found["facts"])
    assert str(ROOT) not in json.dumps(found)
    assert (found["settings"]["seed"], found["config"]["threads"]) == (5, 1)
    assert set(found["startup_seconds"]) > {"importing torch", "loading the weights", "warming up"}
    assert found["ceilings"]["bandwidth"]["median"] > 0
    assert [one["streams"] for one in found["decode"]] == [1, 2]
    assert [one["streams"] for one in found["by_batch"]] == [1, 2, 4, 8, 16, 32, 64]
    assert [one["mean_context"] for one in found["by_context"]] == [126, 254]
    one = found["decode"][0]
    assert set(one["parts_seconds"]) == set(PARTS)
    assert (one["steps"], one["mean_context"]) == (3, 10)
    weights, cached = 3 * (12_288 + 3 * 64 * 96) + 8192, 10 * 3 * 64
    assert one["bytes_per_step"] == 4 * (weights + cached)
    assert one["operations_per_step"] == 2 * (weights + 10 * 3 * 4 * 32)
    assert one["bound_seconds"] == max(one["memory_seconds"], one["arithmetic_seconds"]) > 0
    assert set(one["step_seconds"]) == {"p10", "p50", "p90"}
    assert found["prefill"]["prompt_tokens"] == 255
    assert found["prefill"]["tokens_per_second"] > 0


def check_page(html: str) -> None:
    charts = [ElementTree.fromstring(part.partition("</figure>")[0]) for part in html.split("<figure>")[1:]]
    assert [chart.get("aria-label") for chart in charts] == [
        "Step time against batch size",
        "Step time against context",
    ]
    for chart, num_points in zip(charts, (7, 2), strict=True):
        texts = {element.text for element in chart.iter("text")}
        assert {"measured", "bytes / bandwidth", "FLOP / arithmetic"} <= texts
        lines = [line.get("points", "").split() for line in chart.iter("polyline")]
        assert [len(points) for points in lines] == [num_points] * 3


def test_speculation_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A step that verifies drafts computes more tokens than it has sequences."""
    with pytest.raises(SystemExit) as end:
        main(["bench", "--engine", "--speculative", "ngram"])
    assert end.value.code == 2
    assert "use --speculative off" in capsys.readouterr().err


def test_a_model_that_cannot_be_served_ends_with_1_and_the_reason(tmp_path: Path) -> None:
    ended = run_command("--model", str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "needs config.json, model.safetensors and tokenizer.json" in ended.stderr
