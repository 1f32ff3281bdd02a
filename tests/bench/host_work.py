"""What does the host do for a decode step beside the model, and how long does each part of it take?

Everything but the model is real: scheduler, inputs, sampling, update and the way into the pipe. The model's logits are
made beforehand, and of so few tokens that sampling one costs next to nothing. With overlap the tokens of a step are
unknown when the next one is scheduled, and what a step needs is copied to where a recorded graph reads it, as on a GPU.
With --against, another checkout of this project is measured in turn with this one.

python -m tests.bench.host_work
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from app.engine.core import EngineCore
from app.engine.pipe import write_event
from app.messages import Generate, SamplingParams
from app.model.graphs import DecodeInputs
from app.model.inputs import ForwardBatch
from app.model.runner import ModelRunner
from app.model.sampling.draw import sample_tokens
from app.scheduler.batch import Sampled
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from tests.bench.report import print_circumstances, print_table
from tests.e2e.server import ROOT

BLOCK_SIZE = 16
CONTEXT = 512
VOCAB_SIZE = 8
CPU = torch.device("cpu")
PARTS = ("schedule", "inputs", "launch", "sample", "update", "send", "all")
GREEDY: dict[str, Any] = {"temperature": 0.0}
DRAWN: dict[str, Any] = {"temperature": 0.8, "top_k": 5, "top_p": 0.95}

Times = dict[str, list[float]]
"""Microseconds of every step, by its parts."""


@dataclass(slots=True)
class NoModel:
    """Logits that are there already. `inputs`, if any, are those of a recorded graph."""

    logits: torch.Tensor
    inputs: DecodeInputs | None
    name: str = "none"
    weight_bytes: int = 0

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        if self.inputs is not None and batch.is_decode:
            self.inputs.fill(batch, len(self.logits))
        return self.logits[: len(batch.logits_indices)].clone()

    def sample(self, logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
        return sample_tokens(logits, sequences)


def decoding(num_seqs: int, overlap: bool, drawn: bool, num_steps: int) -> EngineCore:
    """An engine whose next steps, at least so many, decode a token of each of so many sequences of many lengths."""
    most = CONTEXT + num_steps + 9
    num_blocks = num_seqs * (most // BLOCK_SIZE + 1)
    logits = torch.randn(num_seqs, VOCAB_SIZE, generator=torch.Generator().manual_seed(0))
    inputs = DecodeInputs(num_seqs, num_blocks, CPU) if overlap else None
    scheduler = Scheduler(BlockPool(num_blocks), BLOCK_SIZE, num_seqs, num_seqs * CONTEXT)
    core = EngineCore(scheduler, ModelRunner(NoModel(logits, inputs), BLOCK_SIZE, CPU), overlap)
    params = SamplingParams(num_steps + 9, **(DRAWN if drawn else GREEDY))
    for seq_id in range(num_seqs):
        length = CONTEXT - (seq_id * 37) % (CONTEXT // 2)
        core.apply(Generate(seq_id, range(seq_id << 16, (seq_id << 16) + length), params))
    while core.step().stats.num_prefill_tokens:
        pass
    return core


def time_steps(core: EngineCore, num_steps: int, times: Times) -> None:
    with open(os.devnull, "wb") as sink:
        for _ in range(num_steps):
            began = perf_counter()
            output = core.step()
            stepped = perf_counter()
            write_event(sink.fileno(), output)
            ended = perf_counter()
            stats = output.stats
            assert stats.num_decode_tokens == len(output.token_ids) == stats.num_running, "a step of another kind"
            engine = (stats.schedule_seconds, stats.input_seconds, stats.forward_seconds, stats.sample_seconds)
            parts = (*engine, stats.update_seconds, ended - stepped, ended - began)
            for part, seconds in zip(PARTS, parts, strict=True):
                times.setdefault(part, []).append(1e6 * seconds)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    torch.set_num_threads(1)
    if options.profile:
        for num_seqs in options.seqs:
            profile(decoding(num_seqs, not options.one_by_one, options.drawn, options.steps), options.steps)
    elif options.raw:
        print(json.dumps([measure(num_seqs, options) for num_seqs in options.seqs]))
    else:
        compare(options)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seqs", type=int, nargs="+", default=[1, 16, 64, 256], help="sequences that decode")
    parser.add_argument("--steps", type=int, default=200, help="measured in each round")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions, each in a process of its own")
    parser.add_argument("--one-by-one", action="store_true", help="without overlap, as on a CPU")
    parser.add_argument("--drawn", action="store_true", help="tokens are drawn; without, sampling is greedy")
    parser.add_argument("--against", type=Path, help="directory of another checkout")
    parser.add_argument("--profile", action="store_true", help="tell by cProfile what the time goes to, instead")
    parser.add_argument("--raw", action="store_true", help="one round as JSON")
    return parser.parse_args(arguments)


def measure(num_seqs: int, options: argparse.Namespace) -> Times:
    times: Times = {}
    core = decoding(num_seqs, not options.one_by_one, options.drawn, options.steps)
    time_steps(core, options.steps - 1, times)
    return times


def profile(core: EngineCore, num_steps: int) -> None:
    profiler = cProfile.Profile()
    profiler.runcall(time_steps, core, num_steps - 1, {})
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def compare(options: argparse.Namespace) -> None:
    """Rounds of all checkouts in turn, and then the medians over all steps of a checkout."""
    checkouts = {"this": ROOT} | ({} if options.against is None else {"other": options.against.resolve()})
    asked = [f"--{name.replace('_', '-')}" for name in ("one_by_one", "drawn") if getattr(options, name)]
    asked += ["--steps", str(options.steps), "--seqs", *map(str, options.seqs)]
    way = "one step after the other" if options.one_by_one else "overlap"
    sampling = "drawn" if options.drawn else "greedy"
    print_circumstances(
        0, load=f"{way}, {sampling}, contexts of {CONTEXT // 2} to {CONTEXT} tokens, blocks of {BLOCK_SIZE}"
    )
    rounds: dict[str, list[list[Times]]] = {name: [] for name in checkouts}
    for number in range(options.rounds):
        for name in sorted(checkouts, reverse=number % 2 == 0):
            rounds[name].append(one_round(checkouts[name], asked))
    rows = []
    for index, num_seqs in enumerate(options.seqs):
        for name, measured in rounds.items():
            parts = [median(us for times in measured for us in times[index][part]) for part in PARTS]
            rows.append([f"{num_seqs} sequences, {name}", *(f"{us:.0f}" for us in parts)])
    print_table(["microseconds of a step", *PARTS], rows)


def one_round(checkout: Path, asked: list[str]) -> list[Times]:
    """A checkout's own script, which knows its names."""
    command = [sys.executable, "-P", "-m", "tests.bench.host_work", "--raw", *asked]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    ended = subprocess.run(command, cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(ended.stdout)  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
