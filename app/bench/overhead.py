"""Measures the cost of the client itself: `python -m app.bench.overhead`. It must read faster than any server sends.

A server in another process replays streams of small events, slowly enough that few of them arrive together (the report
says how many). The CPU time of this process gives the number of events that a core could read, whoever else uses the
machine. Parsing that is postponed until the clock has stopped does not count. If httpx is installed, it is measured
for comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from itertools import chain
from time import perf_counter, process_time

from app.bench.client import Client
from app.bench.drive import undisturbed
from app.bench.events import Backlog, StreamReply
from app.bench.outcome import Outcome
from app.bench.workload import PlannedRequest

PATH = "/v1/completions"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ENVELOPE = '"id":"cmpl-0123456789abcdef0123456789abcdef","object":"text_completion","created":1700000000,"model":"demo"'
EVENT = '{%s,"choices":[{"index":0,"text":" word","logprobs":null,"finish_reason":%s}],"usage":null}'

Reader = Callable[[str, int, int], Awaitable[Callable[[], list[float]]]]
"""Reads a number of streams from an address, a number of times. Returns a function for the times of all text events."""


def chunk(data: str) -> bytes:
    """An event as one chunk of a chunked body."""
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


async def replay(num_events: int, pause: float) -> None:
    """Serve until killed, after printing the port: for each POST, `num_events` text events, `pause` seconds apart."""
    text = chunk(EVENT % (ENVELOPE, "null"))
    last = chunk(EVENT % (ENVELOPE, '"length"')) + chunk("[DONE]") + b"0\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            writer.write(HEAD)
            for _ in range(num_events - 1):
                writer.write(text)
                await writer.drain()
                await asyncio.sleep(pause)
            writer.write(last)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def read_lean(url: str, num_streams: int, num_rounds: int) -> Callable[[], list[float]]:
    """Read with the client of this package."""
    client, backlog = Client(url), Backlog()
    message = client.message(PATH, b'{"prompt":"x","stream":true}')
    replies: list[StreamReply] = []

    async def stream() -> None:
        for _ in range(num_rounds):
            reply = StreamReply(Outcome(PlannedRequest("", 1, 1)), backlog)
            replies.append(reply)
            await client.send(message, reply)

    def times() -> list[float]:
        for reply in replies:
            reply.read()
            assert reply.outcome.ok, reply.outcome.error
        return list(chain(*(reply.outcome.text_times for reply in replies)))

    try:
        await asyncio.gather(*(stream() for _ in range(num_streams)))
    finally:
        client.close()
    return times


async def read_httpx(url: str, num_streams: int, num_rounds: int) -> Callable[[], list[float]]:
    """Read with httpx, by lines and with as little parsing."""
    import httpx

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:

        async def stream() -> list[float]:
            times = []
            for _ in range(num_rounds):
                async with client.stream("POST", PATH, json={"prompt": "x", "stream": True}) as response:
                    async for line in response.aiter_lines():
                        if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["text"]:
                            times.append(perf_counter())  # noqa: PERF401
            return times

        times = list(chain(*await asyncio.gather(*(stream() for _ in range(num_streams)))))
    return lambda: times


def measure(name: str, read: Reader, url: str, num_streams: int, num_rounds: int) -> str:
    """Read everything once to warm up, and once to measure. Returns a line of the report."""
    asyncio.run(_awaited(read(url, num_streams, 1)))
    with undisturbed():
        cpu, wall = process_time(), perf_counter()
        read_times = asyncio.run(_awaited(read(url, num_streams, num_rounds)))
        cpu, wall = process_time() - cpu, perf_counter() - wall
    times = read_times()
    count, together = len(times), len(times) / len(set(times))
    cost = f"{count / cpu:9,.0f} events per CPU second, {1e6 * cpu / count:5.1f} us each"
    return f"{name:6}{cost}; {count / wall:7,.0f}/s here, {together:.2f} events per clock reading"


async def _awaited(reading: Awaitable[Callable[[], list[float]]]) -> Callable[[], list[float]]:
    return await reading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=64, help="at once [64]")
    parser.add_argument("--events", type=int, default=200, help="in each stream [200]")
    parser.add_argument("--rounds", type=int, default=4, help="streams one after another, on each connection [4]")
    parser.add_argument("--pace", type=int, default=10_000, help="events/s sent, over all streams [10000]")
    parser.add_argument("--replay", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.replay:
        asyncio.run(replay(options.events, options.streams / options.pace))
        return
    command = [sys.executable, "-m", "app.bench.overhead", "--replay", *sys.argv[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            print(f"{options.streams} streams of {options.events} events, {options.rounds} times, {options.pace}/s")
            print(measure("lean", read_lean, url, options.streams, options.rounds))
            try:
                print(measure("httpx", read_httpx, url, options.streams, options.rounds))
            except ImportError:
                print("httpx is not installed")
        finally:
            server.kill()


if __name__ == "__main__":
    main()
