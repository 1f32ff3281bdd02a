"""Does speculation pay where text repeats, and cost next to nothing where it does not? Two servers, in alternation.

python -m tests.bench.speculation
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from tests.bench.engine import add_engine_options, engine_line, engine_options
from tests.bench.report import print_circumstances, print_table, spread
from tests.bench.streams import Client, Timeline
from tests.e2e.server import ServerProcess, serving, until

MODES = ("off", "ngram")
MAX_TOKEN_IDS = 1000
"""Random prompts draw from the first token ids, which every model has."""

COUNTERS = ("draft_tokens", "accepted_tokens")


@dataclass(frozen=True, slots=True)
class Round:
    """Streams at once, from the first one sent to the last token of all; what was guessed meanwhile."""

    tokens_per_second: float
    texts: list[str]
    num_drafted: float
    num_accepted: float


WORDS = ("sun", "tree", "dog", "cat", "house", "ball", "river", "bird", "milk", "book")


def copying(choice: random.Random, num_tokens: int) -> dict[str, Any]:
    """A line of words over and over, to be continued greedily: models, small ones above all, go on with it."""
    line = " ".join(choice.choices(WORDS, k=10)) + "\n"
    return {"prompt": line * 10, "max_tokens": num_tokens, "temperature": 0}


def reckoning(choice: random.Random, num_tokens: int) -> dict[str, Any]:
    """A wrong sum over and over, with which a model that can reckon does not go on: it repeats itself now and then."""
    line = f"{choice.randint(1, 20)} + {choice.randint(1, 20)} = {choice.randint(1, 40)}\n"
    return {"prompt": line * 16, "max_tokens": num_tokens, "temperature": 0}


def random_text(choice: random.Random, num_tokens: int) -> dict[str, Any]:
    """Random tokens, to be continued at random: models that learned to copy repeat them at temperature 1."""
    prompt = choice.choices(range(MAX_TOKEN_IDS), k=128)
    sampling = {"temperature": 2, "top_p": 1, "seed": choice.getrandbits(32)}
    return {"prompt": prompt, "max_tokens": num_tokens, **sampling}


WORKLOADS: dict[str, Callable[[random.Random, int], dict[str, Any]]] = {
    "copying": copying,
    "reckoning": reckoning,
    "random": random_text,
}
Results = dict[tuple[str, int], dict[str, list[Round]]]


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    print_circumstances(options.seed, model=options.model, load=f"{options.output_tokens} output tokens a stream")
    engine = ("--kv-cache-memory", "256MiB", *engine_options(options))
    with (
        serving(options.model, *engine, "--speculative", "off") as off,
        serving(options.model, *engine, "--speculative", "ngram") as ngram,
    ):
        print(f"engine:     {engine_line(ngram)}\n")
        show(alternate(dict(zip(MODES, (off, ngram), strict=True)), options), options)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="directory of a model [the one in the package]")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--output-tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    add_engine_options(parser)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def alternate(servers: dict[str, ServerProcess], options: argparse.Namespace) -> Results:
    """Without, with, without, with, the same prompts and seeds for both; a first pair warms up and is not counted."""
    choice = random.Random(options.seed)
    cases = [(name, num_streams) for name in WORKLOADS for num_streams in options.streams]
    results: Results = {case: {mode: [] for mode in MODES} for case in cases}
    for number in range(options.rounds + 1):
        for (name, num_streams), measured in results.items():
            bodies = [WORKLOADS[name](choice, options.output_tokens) for _ in range(num_streams)]
            pair = {mode: measure(server, bodies, options.seed) for mode, server in servers.items()}
            if pair["off"].texts != pair["ngram"].texts:
                raise AssertionError(f"speculation changed what was said: {name}, {num_streams} at once")
            if number:
                for mode, taken in pair.items():
                    measured[mode].append(taken)
                    speed = f"{taken.tokens_per_second:8.1f} tokens/s"
                    print(f"round {number}, {name:<9} {num_streams:>3} at once, {mode:<6}{speed}", flush=True)
    return results


def measure(server: ServerProcess, bodies: list[dict[str, Any]], seed: int) -> Round:
    client = Client(server.url, MAX_TOKEN_IDS, seed)
    until(server.is_idle, "the server is idle")
    before, began = counters(server), perf_counter()

    async def stream_all() -> tuple[list[Timeline], float]:
        always = {"ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}
        return await asyncio.gather(*(client.stream(body | always) for body in bodies)), perf_counter() - began

    timelines, elapsed = asyncio.run(stream_all())
    after = counters(server)
    return Round(
        tokens_per_second=sum(line.num_tokens for line in timelines) / elapsed,
        texts=[line.text for line in timelines],
        num_drafted=after["draft_tokens"] - before["draft_tokens"],
        num_accepted=after["accepted_tokens"] - before["accepted_tokens"],
    )


def counters(server: ServerProcess) -> dict[str, float]:
    metrics = server.metrics()
    return {name: metrics[f"millrace_spec_decode_num_{name}_total"] for name in COUNTERS}


def show(results: Results, options: argparse.Namespace) -> None:
    print(f"\noutput tokens/s, median of {options.rounds} rounds in alternation (lowest to highest); the same texts")
    rows = []
    for (name, num_streams), measured in results.items():
        off, ngram = (measured[mode] for mode in MODES)
        ratios = [b.tokens_per_second / a.tokens_per_second for a, b in zip(off, ngram, strict=True)]
        num_drafted = sum(taken.num_drafted for taken in ngram)
        share = sum(taken.num_accepted for taken in ngram) / num_drafted if num_drafted else 0
        rows.append(
            [
                f"{name}, {num_streams} at once",
                *(spread([taken.tokens_per_second for taken in measured[mode]]) for mode in MODES),
                spread(ratios, 2),
                f"{num_drafted / options.rounds:.0f}",
                f"{share:.0%}",
            ]
        )
    print_table(["", *MODES, "ratio", "guessed a round", "right"], rows)


if __name__ == "__main__":
    main()
