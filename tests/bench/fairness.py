"""How long does one key wait while another floods the server, with fair sharing and first come, first served?

python -m tests.bench.fairness [--hostile]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.random_model import save_model
from tests.bench.report import print_circumstances, print_table, spread
from tests.bench.shapes import SHAPES
from tests.bench.streams import Client, StreamFailed
from tests.e2e.server import serving

FLOODING, POLITE = "flooding-key", "polite-key"
PROMPT_TOKENS = 64
HOSTILE = {"n": 64, "priority": -(2**31)}
RETRY_SECONDS = 1
"""What the server asks of whoever finds the queue full."""


@dataclass(frozen=True, slots=True)
class Round:
    """Times to first token of the polite key's requests, in seconds."""

    idle: list[float]
    contended: list[float]


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    shape = SHAPES[options.shape]
    with tempfile.TemporaryDirectory() as directory, ExitStack() as running:
        num_parameters = save_model(Path(directory), shape, options.seed)
        print_circumstances(
            options.seed,
            model=f"random Llama, {num_parameters / 1e6:.1f}M parameters, float32; {shape}",
            load=f"one key keeps {options.flood} {'hostile ' * options.hostile}requests open, "
            f"another sends {options.requests}, one after the other; prompts of {PROMPT_TOKENS} tokens",
        )
        urls = {}
        for fair in (True,) if options.hostile else (True, False):
            keys = ("--api-keys", f"a:{FLOODING},b:{POLITE}", "--fair-sharing", str(fair).lower())
            limits = ("--kv-cache-memory", "512MiB", "--max-num-seqs", "16", "--threads", str(options.threads))
            urls[fair] = running.enter_context(serving(directory, *keys, *limits)).url
        rounds: dict[bool, list[Round]] = {fair: [] for fair in urls}
        for number in range(options.rounds):
            for fair in sorted(urls, reverse=number % 2 == 0):
                count = options.requests if fair else options.requests_unshared
                rounds[fair].append(asyncio.run(measure(urls[fair], options, number, count)))
        show(rounds)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="25M", help="of the random model")
    parser.add_argument("--flood", type=int, default=200, help="requests of the key that floods")
    parser.add_argument("--flood-tokens", type=int, default=128, help="output tokens of each")
    parser.add_argument(
        "--hostile",
        action="store_true",
        help="the flood calls itself most urgent, has 64 choices a request, and as many tokens as the model takes; "
        "with fair sharing only, since without it the other key would never be served",
    )
    parser.add_argument("--requests", type=int, default=15, help="requests of the other key, idle and contended")
    parser.add_argument(
        "--requests-unshared", type=int, default=3, help="the same without fair sharing: each takes long"
    )
    parser.add_argument("--rounds", type=int, default=3, help="repetitions, the two servers in turn")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the engine")
    parser.add_argument("--seed", type=int, default=0, help="of weights and prompts")
    return parser.parse_args(arguments)


async def measure(url: str, options: argparse.Namespace, number: int, count: int) -> Round:
    """The polite key's requests, `count` of them alone, and then as many while the flood lasts."""
    vocab_size, seed = SHAPES[options.shape].vocab_size, options.seed + 2 * number
    flooding, polite = Client(url, vocab_size, seed, FLOODING), Client(url, vocab_size, seed + 1, POLITE)
    idle = await one_by_one(polite, count)
    begun = asyncio.Event()

    async def go_on_flooding() -> None:
        while True:
            try:
                await flooding.stream(make_flood(flooding, options), lambda _: begun.set())
            except StreamFailed:
                await asyncio.sleep(RETRY_SECONDS)

    flood = [asyncio.create_task(go_on_flooding()) for _ in range(options.flood)]
    await begun.wait()
    contended = await one_by_one(polite, count)
    for stream in flood:
        stream.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    return Round(idle, contended)


def make_flood(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    if not options.hostile:
        return client.make_body(PROMPT_TOKENS, options.flood_tokens)
    return client.make_body(PROMPT_TOKENS, SHAPES[options.shape].max_position_embeddings - PROMPT_TOKENS) | HOSTILE


async def one_by_one(client: Client, count: int) -> list[float]:
    """Times to first token of short requests, each sent when the one before it has ended."""
    return [(await client.stream(client.make_body(PROMPT_TOKENS, 4))).time_to_first_token for _ in range(count)]


def show(rounds: dict[bool, list[Round]]) -> None:
    rows = []
    for fair, measured in rounds.items():
        idle = [1e3 * median(one.idle) for one in measured]
        contended = [1e3 * median(one.contended) for one in measured]
        growth = [after / before for before, after in zip(idle, contended, strict=True)]
        name = "fair sharing" if fair else "first come, first served"
        rows.append([name, spread(idle), spread(contended), spread(growth, 2)])
    print()
    header = ["median TTFT of the polite key", "idle, ms", "under the flood, ms", "growth"]
    print_table(header, rows)


if __name__ == "__main__":
    main()
