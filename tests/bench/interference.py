"""How long do running streams stall when a long prompt arrives? With its prefill in chunks, and all at once.

python -m tests.bench.interference
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from app.config import load_defaults
from tests.bench.engine import add_engine_options, engine_line, engine_options
from tests.bench.random_model import save_model
from tests.bench.report import print_circumstances, print_table, spread
from tests.bench.shapes import SHAPES
from tests.bench.streams import Client, Timeline
from tests.e2e.server import ServerProcess, serving, until

NUM_SETTLED = 20
"""Tokens of every stream that come before the long prompt is sent."""

STREAM_TOKENS = (128, 1500)
"""Prompt and output of a stream that decodes; the output only has to last."""

TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds: the usual gap between tokens, the longest one around the prompt, and how long the prompt waited."""

    usual_gap: float
    longest_gap: float
    time_to_first_token: float


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    shape = SHAPES[options.shape]
    with tempfile.TemporaryDirectory() as directory, ExitStack() as running:
        num_parameters = save_model(Path(directory), shape, options.seed)
        print_circumstances(
            options.seed,
            model=f"random Llama, {num_parameters / 1e6:.1f}M parameters, float32; {shape}",
            load=f"{options.streams} streams decoding, then a prompt of {options.prompt_tokens} tokens; greedy",
        )
        servers = {}
        for budget in options.budgets:
            limits = ("--kv-cache-memory", "256MiB", "--max-num-batched-tokens", str(budget))
            server = running.enter_context(serving(directory, *limits, *engine_options(options)))
            print(f"engine:     budget {budget}, {engine_line(server)}")
            servers[budget] = server, Client(server.url, shape.vocab_size, options.seed)
        print()
        show(alternate(servers, options), options)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="25M")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--prompt-tokens", type=int, default=1024)
    parser.add_argument(
        "--budgets",
        type=int,
        nargs="+",
        default=[load_defaults()["max_num_batched_tokens"], 4096],
        metavar="TOKENS",
        help="values of --max-num-batched-tokens, one server for each [the default, and one that chunks nothing]",
    )
    parser.add_argument("--rounds", type=int, default=3)
    add_engine_options(parser)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def alternate(servers: dict[int, tuple[ServerProcess, Client]], options: argparse.Namespace) -> dict[int, list[Round]]:
    """Every budget in turn; a first turn warms up and is not counted."""
    rounds: dict[int, list[Round]] = {budget: [] for budget in servers}
    for number in range(options.rounds + 1):
        for budget, (server, client) in servers.items():
            until(server.is_idle, "the server is idle")
            taken = asyncio.run(measure(client, options))
            if number:
                rounds[budget].append(taken)
                print(f"round {number}, budget {budget:>5}: longest gap {taken.longest_gap * 1000:6.0f} ms", flush=True)
    return rounds


async def measure(client: Client, options: argparse.Namespace) -> Round:
    """Streams that would go on for long are read until the long prompt has had its first tokens, and then left."""
    timelines: dict[int, Timeline] = {}
    settled = asyncio.Event()

    def note(index: int, timeline: Timeline) -> None:
        timelines[index] = timeline
        if len(timelines) == options.streams and min(len(line.arrivals) for line in timelines.values()) > NUM_SETTLED:
            settled.set()

    async def read(index: int) -> None:
        await client.stream(client.make_body(*STREAM_TOKENS), lambda timeline: note(index, timeline))

    async with asyncio.timeout(TIMEOUT_SECONDS), asyncio.TaskGroup() as group:
        streams = [group.create_task(read(index)) for index in range(options.streams)]
        await settled.wait()
        prompt = await client.stream(client.make_body(options.prompt_tokens, NUM_SETTLED))
        for stream in streams:
            stream.cancel()
    arrivals = [line.arrivals for line in timelines.values()]
    before = [b - a for times in arrivals for a, b in pairwise(times) if b < prompt.sent]
    gaps = [line.longest_gap(prompt.sent, prompt.arrivals[0]) for line in timelines.values()]
    return Round(median(before), max(gaps), prompt.time_to_first_token)


def show(rounds: dict[int, list[Round]], options: argparse.Namespace) -> None:
    print(f"\nmedian of {options.rounds} rounds in alternation (lowest to highest), ms")
    rows = [
        [
            f"{budget} tokens a step",
            *(
                spread([getattr(taken, field) for taken in taken_all], 0, 1000)
                for field in ("usual_gap", "longest_gap", "time_to_first_token")
            ),
        ]
        for budget, taken_all in rounds.items()
    ]
    print_table(["", "usual gap", f"longest gap as {options.prompt_tokens} tokens arrive", "their TTFT"], rows)


if __name__ == "__main__":
    main()
