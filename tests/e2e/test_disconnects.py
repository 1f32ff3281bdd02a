"""Half of 200 clients leave at random moments: nothing of them stays behind, and the others notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

import httpx
import psutil

from tests.e2e.directories import TextModel
from tests.e2e.server import ServerProcess, until
from tests.e2e.streams import Read, events_of, read_streamed, read_whole

NUM_STAYING = 100
NUM_LEAVING = 100
NUM_BODIES = 20
ENDLESS = 4096
MAX_PATIENCE = 2.0

Body = dict[str, Any]
Leave = Callable[[httpx.AsyncClient], Awaitable[None]]


def make_bodies(choice: random.Random, model: TextModel) -> list[Body]:
    """Different prompts, some with a beginning in common; greedy ones and seeded ones; none hits an end by itself."""
    beginning = model.encode("a mill race carries water; the wheel turns, and flour falls")
    bodies: list[Body] = []
    for seed in range(NUM_BODIES):
        rest = choice.choices(range(model.tokenizer.get_vocab_size()), k=choice.randint(1, 60))
        prompt = beginning + rest if choice.random() < 0.5 else rest
        temperature = choice.choice([0, 0.9])
        bodies.append({"prompt": prompt, "max_tokens": choice.randint(1, 40), "temperature": temperature, "seed": seed})
    return bodies


def endless(body: Body) -> Body:
    return body | {"max_tokens": ENDLESS}


async def leave_after(patience: float, read: Read, url: str, body: Body, client: httpx.AsyncClient) -> None:
    """Go away at a moment of time: while the prompt waits, or somewhere in the answer."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(read(client, url, endless(body)), patience)
        raise AssertionError("an endless answer has ended")


async def leave_at_event(number: int, url: str, body: Body, client: httpx.AsyncClient) -> None:
    """Go away as an event of the stream comes."""
    async with aclosing(events_of(client, url, endless(body))) as stream:
        for _ in range(number):
            await anext(stream)


def make_leavers(choice: random.Random, bodies: list[Body], url: str) -> list[Leave]:
    """Half go at an event, half at a moment; of the latter, half wait for an answer in one piece."""
    leavers: list[Leave] = []
    for index in range(NUM_LEAVING):
        body, number, patience = choice.choice(bodies), choice.randint(1, 20), choice.uniform(0, MAX_PATIENCE)
        read = read_whole if index % 4 == 0 else read_streamed
        if index % 2:
            leavers.append(partial(leave_at_event, number, url, body))
        else:
            leavers.append(partial(leave_after, patience, read, url, body))
    return leavers


def census(server: ServerProcess) -> list[int]:
    """Open files and threads of both processes."""
    assert server.engine_pid is not None
    processes = [psutil.Process(pid) for pid in (server.pid, server.engine_pid)]
    return [count for process in processes for count in (process.num_fds(), process.num_threads())]


async def test_those_who_stay_are_undisturbed_and_those_who_leave_leave_nothing(
    server: ServerProcess, model: TextModel
) -> None:
    choice = random.Random(2026)
    bodies = make_bodies(choice, model)
    connections = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=60, limits=connections) as client:
        alone = [await read_whole(client, server.url, body) for body in bodies]
        # Thread pools grow with the first crowd and stay: what is counted before must include that.
        await asyncio.gather(*(read_streamed(client, server.url, body) for body in bodies * 2))
        await asyncio.to_thread(until, server.is_idle, "the first crowd is gone")
        before, counted = census(server), server.metrics()

        staying = [index % NUM_BODIES for index in range(NUM_STAYING)]
        crowd: list[Awaitable[Any]] = [
            (read_whole if index % 3 == 0 else read_streamed)(client, server.url, bodies[number])
            for index, number in enumerate(staying)
        ]
        crowd += [leave(client) for leave in make_leavers(choice, bodies, server.url)]
        order = choice.sample(range(len(crowd)), len(crowd))
        came = dict(zip(order, await asyncio.gather(*(crowd[index] for index in order)), strict=True))

    assert [came[index] for index in range(NUM_STAYING)] == [alone[number] for number in staying]
    until(server.is_idle, "nothing runs, nothing waits, and all blocks are free")
    until(lambda: all(now <= then for now, then in zip(census(server), before, strict=True)), "files and threads go")
    ended = Counter(server.metrics())
    ended.subtract(counted)
    assert ended['millrace_request_success_total{finished_reason="length"}'] == NUM_STAYING
    assert NUM_LEAVING / 2 <= ended['millrace_request_success_total{finished_reason="client_gone"}'] <= NUM_LEAVING
    assert ended["millrace_engine_restarts_total"] == 0
