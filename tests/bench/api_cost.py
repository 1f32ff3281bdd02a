"""What a streamed token costs the API process: CPU time, which others on the machine hardly change.

python -m tests.bench.api_cost

The server is the real one, but its engine has no model (`paced_engine`). Requests for one token are measured too, so
that what a request costs is not counted as the cost of its tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import closing
from typing import Any

from app.bench.client import Client
from app.bench.outcome import Outcome
from app.bench.workload import PlannedRequest
from tests.bench.report import print_circumstances, print_table
from tests.e2e.server import ServerProcess, started

BODIES: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "Once upon a time"},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "What is a KV cache?"}]},
}
OVERHEAD_REQUESTS = 256


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    load = f"{options.tokens} tokens a stream, {options.pace} tokens/s over all streams, {options.rounds} rounds"
    print_circumstances(0, load=load)
    splitting = ["--split"] if options.split else []
    engine = ["--pace", str(options.pace), "--max-num-seqs", "256", "--max-num-batched-tokens", "8192"]
    with started("demo", *engine, *splitting, module="tests.bench.paced_server") as server:
        server.until_ready()
        rows = asyncio.run(measure_all(server, options))
        server.signal()
        assert server.exit_code() == 0, server.output
        print_table(("", "streams", "us a token", "ms a request", "tokens/s", "tokens an event"), rows)
        if options.split:
            print(f"\n{server.output}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--paths", nargs="+", choices=BODIES, default=list(BODIES))
    parser.add_argument("--tokens", type=int, default=256, help="of each stream [256]")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pace", type=int, default=4000, help="tokens/s, over all streams [4000]")
    parser.add_argument("--split", action="store_true", help="also sample what the CPU time is spent on")
    return parser.parse_args(arguments)


async def measure_all(server: ServerProcess, options: argparse.Namespace) -> list[list[str]]:
    with closing(Client(server.url)) as client:
        return [
            await measure(server, client, path, num_streams, options)
            for path in options.paths
            for num_streams in options.streams
        ]


async def measure(
    server: ServerProcess, client: Client, path: str, num_streams: int, options: argparse.Namespace
) -> list[str]:
    """A row of the table. The first requests warm up, and are not counted."""
    num_overhead_rounds = max(1, OVERHEAD_REQUESTS // num_streams)
    await stream_all(client, path, num_streams, 1, options.tokens // 4)
    before = cpu_seconds(server.pid)
    await stream_all(client, path, num_streams, num_overhead_rounds, 1)
    per_request = (cpu_seconds(server.pid) - before) / (num_overhead_rounds * num_streams)
    before, began = cpu_seconds(server.pid), time.monotonic()
    outcomes = await stream_all(client, path, num_streams, options.rounds, options.tokens)
    spent, elapsed = cpu_seconds(server.pid) - before, time.monotonic() - began
    num_tokens = sum(outcome.num_output_tokens for outcome in outcomes)
    num_events = sum(len(outcome.text_times) for outcome in outcomes)
    per_token = (spent - per_request * len(outcomes)) / (num_tokens - len(outcomes))
    figures = f"{1e6 * per_token:.1f}", f"{1e3 * per_request:.2f}", f"{num_tokens / elapsed:.0f}"
    return [path, str(num_streams), *figures, f"{num_tokens / num_events:.2f}"]


async def stream_all(client: Client, path: str, num_streams: int, num_rounds: int, num_tokens: int) -> list[Outcome]:
    """So many streams at once, so many times in a row."""
    body = BODIES[path] | {"max_tokens": num_tokens, "ignore_eos": True, "stream": True}
    message = client.message(path, json.dumps(body | {"stream_options": {"include_usage": True}}).encode())
    outcomes: list[Outcome] = []

    async def one_after_another() -> None:
        for _ in range(num_rounds):
            outcome = Outcome(PlannedRequest("", 1, num_tokens))
            await client.stream(message, outcome)
            assert outcome.ok, outcome.error
            outcomes.append(outcome)

    await asyncio.gather(*(one_after_another() for _ in range(num_streams)))
    return outcomes


def cpu_seconds(pid: int) -> float:
    """CPU time of another process, all its threads, to the nanosecond: Linux's clock id of `clock_getcpuclockid`."""
    return time.clock_gettime((~pid << 3) | 2)


if __name__ == "__main__":
    main()
