"""How soon after SIGTERM does /ready say 503, while streams are served? And do the streams end whole?

python -m tests.bench.readiness

The streams are read by one process and /ready is asked by another, over a new connection each time, so that neither
waits for the other. A part of what is measured is the asking itself, which is printed beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import signal
import socket
import tempfile
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter
from urllib.parse import urlsplit

from tests.bench.report import print_circumstances, print_table, spread
from tests.bench.streams import Client
from tests.e2e.server import started

PROMPT_TOKENS = 16
NUM_ASKED_BEFORE = 50


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds from asking to the answer while the server is well, and from the signal to the first answer of 503;
    streams that were open at the signal, and that were whole in the end.
    """

    asking: list[float]
    until_503: float
    num_open: int
    num_whole: int


def main(arguments: list[str] | None = None) -> None:
    # What takes long to import, for which the process of the readers need not wait.
    from tests.bench.random_model import save_model
    from tests.bench.shapes import SHAPES

    options = parse(arguments)
    shape = SHAPES[options.shape]
    options.vocab_size = shape.vocab_size
    with tempfile.TemporaryDirectory() as directory:
        num_parameters = save_model(Path(directory), shape, options.seed)
        print_circumstances(
            options.seed,
            model=f"random Llama, {num_parameters / 1e6:.1f}M parameters, float32; {shape}",
            load=f"{options.streams} streams of {options.output_tokens} tokens",
        )
        rounds = [measure(Path(directory), options) for _ in range(options.rounds)]
    show(rounds, options.streams)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="25M", help="of the random model, by its name in tests/bench/shapes.py")
    parser.add_argument("--streams", type=int, default=32, help="streams that are served meanwhile")
    parser.add_argument("--output-tokens", type=int, default=1000, help="of each stream")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions, each with a server of its own")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the engine")
    parser.add_argument("--seed", type=int, default=0, help="of weights and prompts")
    return parser.parse_args(arguments)


def measure(directory: Path, options: argparse.Namespace) -> Round:
    limits = ("--max-num-seqs", str(options.streams), "--kv-cache-memory", "512MiB", "--threads", str(options.threads))
    with started(directory, *limits, "--drain-seconds", "300") as server:
        server.until_ready()
        ours, theirs = multiprocessing.Pipe()
        reading = multiprocessing.get_context("spawn").Process(target=read_streams, args=(server.url, options, theirs))
        reading.start()
        assert ours.recv() == "begun"
        asking = [ask(server.url)[1] for _ in range(NUM_ASKED_BEFORE)]
        signalled = perf_counter()
        server.signal(signal.SIGTERM)
        while ask(server.url)[0] != 503:
            pass
        until_503 = perf_counter() - signalled
        streams: list[tuple[float, int]] = ours.recv()
        reading.join()
        assert server.exit_code() == 0, server.output
    num_open = sum(ended > signalled for ended, _ in streams)
    return Round(asking, until_503, num_open, sum(count == options.output_tokens for _, count in streams))


def ask(url: str) -> tuple[int, float]:
    """The status of /ready, and how long the answer took."""
    address = urlsplit(url)
    began = perf_counter()
    with closing(socket.create_connection((address.hostname, address.port))) as connection:
        connection.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status = int(connection.recv(4096).split()[1])
    return status, perf_counter() - began


def read_streams(url: str, options: argparse.Namespace, tell: Connection) -> None:
    """Another process: tells when every stream has begun, and in the end when each ended, after how many tokens."""
    tell.send(asyncio.run(_read_streams(url, options, tell)))


async def _read_streams(url: str, options: argparse.Namespace, tell: Connection) -> list[tuple[float, int]]:
    client, begun = Client(url, options.vocab_size, options.seed), set[int]()

    async def read(number: int) -> tuple[float, int]:
        def on_token(_: object) -> None:
            if number not in begun:
                begun.add(number)
                if len(begun) == options.streams:
                    tell.send("begun")

        timeline = await client.stream(client.make_body(PROMPT_TOKENS, options.output_tokens), on_token)
        return timeline.arrivals[-1], timeline.num_tokens

    return await asyncio.gather(*map(read, range(options.streams)))


def show(rounds: list[Round], num_streams: int) -> None:
    asking = sorted(1e3 * seconds for one in rounds for seconds in one.asking)
    until_503 = [1e3 * one.until_503 for one in rounds]
    print()
    print_table(
        ["ms", "median", "longest"],
        [
            ["/ready while well", f"{median(asking):.1f}", f"{asking[-1]:.1f}"],
            ["503 after SIGTERM", spread(until_503), f"{max(until_503):.1f}"],
        ],
    )
    num_open, num_whole = (sum(getattr(one, name) for one in rounds) for name in ("num_open", "num_whole"))
    print(f"\nof {num_streams * len(rounds)} streams, open at the signal: {num_open}, whole in the end: {num_whole}")


if __name__ == "__main__":
    main()
