"""Two thousand short requests: after the first two hundred neither process grows."""

from __future__ import annotations

import asyncio
import random

import httpx
import psutil
import pytest

from tests.e2e.directories import TextModel
from tests.e2e.server import ONE_THREAD, ServerProcess, serving, until
from tests.e2e.streams import read_streamed, read_whole

FIRST, ALL = 200, 2000
CONCURRENCY = 8
TOLERANCE = 3 * 2**20
"""Bytes per process. One thing kept for each of 1,800 requests shows from 1.7 kB on."""

CACHE = ("--kv-cache-memory", "2MiB")
"""So small that the first requests have touched every block of it."""


async def send(client: httpx.AsyncClient, url: str, model: TextModel, seed: int) -> None:
    """A request unlike any other, so that what is remembered of prompts is replaced all the time."""
    prompt = random.Random(seed).choices(range(model.tokenizer.get_vocab_size()), k=20)
    body = {"prompt": prompt, "max_tokens": 4, "seed": seed}
    await (read_streamed if seed % 2 else read_whole)(client, url, body)


async def send_all(server: ServerProcess, model: TextModel, seeds: range) -> None:
    waiting = iter(seeds)
    async with httpx.AsyncClient(timeout=60) as client:

        async def send_some() -> None:
            for seed in waiting:
                await send(client, server.url, model, seed)

        await asyncio.gather(*(send_some() for _ in range(CONCURRENCY)))


def resident(server: ServerProcess) -> dict[str, int]:
    """Bytes of each process, when nothing runs."""
    until(server.is_idle, "nothing runs")
    assert server.engine_pid is not None
    return {
        name: psutil.Process(pid).memory_info().rss
        for name, pid in (("api", server.pid), ("engine", server.engine_pid))
    }


@pytest.mark.slow
def test_neither_process_grows_after_the_first_requests(model: TextModel) -> None:
    with serving(model.directory, *CACHE, *ONE_THREAD) as server:
        asyncio.run(send_all(server, model, range(FIRST)))
        figures = [resident(server)]
        for begin in range(FIRST, ALL, 600):
            asyncio.run(send_all(server, model, range(begin, begin + 600)))
            figures.append(resident(server))
        for name in figures[0]:
            print(f"{name}: " + ", ".join(f"{figure[name] / 2**20:.1f}" for figure in figures) + " MiB")
        grown = {name: figures[-1][name] - figures[0][name] for name in figures[0]}
    assert max(grown.values()) <= TOLERANCE, grown
