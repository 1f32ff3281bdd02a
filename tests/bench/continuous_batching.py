"""Does continuous batching pay? One stream against many at once, over HTTP, in alternation on one server.

python -m tests.bench.continuous_batching
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import perf_counter

from tests.bench.engine import add_engine_options, engine_line, engine_options
from tests.bench.random_model import save_model
from tests.bench.report import print_circumstances, print_table, spread
from tests.bench.shapes import SHAPES
from tests.bench.streams import Client, Timeline
from tests.e2e.server import ServerProcess, serving, until

TARGET = 5.0
PARTS = ("schedule", "forward", "sample", "other")


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement: `num_streams` at once, from the first one sent to the last token of all. Times in seconds."""

    tokens_per_second: float
    time_to_first_token: float
    inter_token: float
    share_outside_forward: float
    share_between_steps: float


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    shape = SHAPES[options.shape]
    with tempfile.TemporaryDirectory() as directory:
        num_parameters = save_model(Path(directory), shape, options.seed)
        print_circumstances(
            options.seed,
            model=f"random Llama, {num_parameters / 1e6:.1f}M parameters, float32; {shape}",
            load=f"{options.prompt_tokens} prompt and {options.output_tokens} output tokens, greedy, random prompts",
        )
        with serving(directory, "--kv-cache-memory", "512MiB", *engine_options(options)) as server:
            print(f"engine:     {engine_line(server)}\n")
            client = Client(server.url, shape.vocab_size, options.seed)
            show(alternate(server, client, options), options)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="25M")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--output-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    add_engine_options(parser)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def alternate(server: ServerProcess, client: Client, options: argparse.Namespace) -> dict[int, list[Round]]:
    """One, many, one, many; a first pair warms up and is not counted."""
    rounds: dict[int, list[Round]] = {1: [], options.streams: []}
    for number in range(options.rounds + 1):
        for num_streams, measured in rounds.items():
            taken = measure(server, client, num_streams, options)
            if number:
                measured.append(taken)
                print(f"round {number}, {num_streams:>3} at once: {taken.tokens_per_second:8.1f} tokens/s", flush=True)
    return rounds


def measure(server: ServerProcess, client: Client, num_streams: int, options: argparse.Namespace) -> Round:
    bodies = [client.make_body(options.prompt_tokens, options.output_tokens) for _ in range(num_streams)]
    until(server.is_idle, "the server is idle")
    before, began = server.metrics(), perf_counter()

    async def stream_all() -> tuple[list[Timeline], float]:
        return await asyncio.gather(*(client.stream(body) for body in bodies)), perf_counter() - began

    timelines, elapsed = asyncio.run(stream_all())
    after = server.metrics()
    parts = {part: _sum(after, part) - _sum(before, part) for part in PARTS}
    stepping = sum(parts.values())
    gaps = [(line.arrivals[-1] - line.arrivals[0]) / (line.num_tokens - 1) for line in timelines]
    return Round(
        tokens_per_second=sum(line.num_tokens for line in timelines) / elapsed,
        time_to_first_token=mean(line.time_to_first_token for line in timelines),
        inter_token=mean(gaps),
        share_outside_forward=1 - parts["forward"] / stepping,
        share_between_steps=1 - stepping / elapsed,
    )


def _sum(metrics: dict[str, float], part: str) -> float:
    return metrics[f'millrace_step_seconds_sum{{part="{part}"}}']


def show(rounds: dict[int, list[Round]], options: argparse.Namespace) -> None:
    columns = {
        "output tokens/s": ("tokens_per_second", 1, 1),
        "mean TTFT, ms": ("time_to_first_token", 0, 1000),
        "time per token, ms": ("inter_token", 1, 1000),
        "step time outside forward, %": ("share_outside_forward", 1, 100),
        "time between steps, %": ("share_between_steps", 1, 100),
    }
    print(f"\nmedian of {options.rounds} rounds in alternation (lowest to highest)")
    rows = [
        [
            name,
            *(spread([getattr(taken, field) for taken in taken_all], digits, scale) for taken_all in rounds.values()),
        ]
        for name, (field, digits, scale) in columns.items()
    ]
    print_table(["", *(f"{number} at once" for number in rounds)], rows)
    one, many = rounds.values()
    ratios = [b.tokens_per_second / a.tokens_per_second for a, b in zip(one, many, strict=True)]
    print(f"\n{options.streams} at once over one: {spread(ratios, 2)} times the output tokens per second", end="")
    print(f" (the aim is {TARGET})" if options.streams == 16 else "")
    print(
        "Step time is the engine's own; outside the model's forward lie scheduling, making its inputs, sampling and the"
    )
    print("copy to the host. Between steps lie the pipes, and the HTTP at both ends.")


if __name__ == "__main__":
    main()
