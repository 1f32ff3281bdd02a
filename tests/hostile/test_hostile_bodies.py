"""Bodies that are valid or not, and hostile: each is answered as documented, and nobody else's text changes.

`HOSTILE_CASES` in the environment says how many there are. The body whose answer took longest is printed, and the
longest gap in a witness's stream beside the one that it has alone.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest

from tests.e2e.server import ServerProcess, until
from tests.hostile.bodies import Case, Generator
from tests.hostile.witnesses import Sight, watch

NUM_CASES = int(os.environ.get("HOSTILE_CASES", "2000"))
NUM_CLIENTS = 4
SEED = 17

pytestmark = pytest.mark.slow


@dataclass
class Outcome:
    """What came of an attack: how often each status, what is not documented, and what took longest to be answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    undocumented: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")


def attack(url: str, documented: dict[str, set[int]], seed: int, num_cases: int) -> Outcome:
    """In a process of its own, which witnesses do not wait for."""
    outcome, generator = Outcome(), Generator(seed)
    asyncio.run(_attack(outcome, url, documented, (generator.request() for _ in range(num_cases))))
    return outcome


async def _attack(outcome: Outcome, url: str, documented: dict[str, set[int]], cases: Iterator[Case]) -> None:
    async def send_all(client: httpx.AsyncClient) -> None:
        for path, content_type, body in cases:
            began = time.monotonic()
            headers, sent = {"Content-Type": content_type.encode()}, f"{path}, {len(body)} bytes: {body[:500]!r}"
            try:
                answer = await client.post(f"{url}{path}", content=body, headers=headers)
            except httpx.TransportError as error:
                outcome.undocumented.append(f"{error!r} {sent}")
                continue
            outcome.statuses[answer.status_code] += 1
            outcome.slowest = max(outcome.slowest, (time.monotonic() - began, sent))
            if answer.status_code not in documented[path] or answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
                outcome.undocumented.append(f"{answer.status_code} {sent}: {answer.text[:500]}")

    async with httpx.AsyncClient(timeout=300) as client:
        await asyncio.gather(*(send_all(client) for _ in range(NUM_CLIENTS)))


def documented_statuses(url: str) -> dict[str, set[int]]:
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    return {
        path: {int(status) for operation in operations.values() for status in operation["responses"]}
        for path, operations in paths.items()
    }


async def seen_alone(url: str) -> Sight:
    stop = asyncio.Event()
    stop.set()
    return await watch(url, stop, Sight())


async def test_hostile_bodies_are_answered_as_documented_and_cost_others_nothing(attacked: ServerProcess) -> None:
    url = attacked.url
    alone = await seen_alone(url)
    beside, stop = Sight(), asyncio.Event()
    watching = asyncio.create_task(watch(url, stop, beside))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as attackers:
        attacking = attackers.submit(attack, url, documented_statuses(url), SEED, NUM_CASES)
        outcome = await asyncio.wrap_future(attacking)
    stop.set()
    await watching
    print(f"{sum(outcome.statuses.values())} cases: {dict(outcome.statuses)}")
    print(f"slowest answer {outcome.slowest[0]:.2f} s: {outcome.slowest[1]}")
    print(f"longest gap {beside.longest_gap:.3f} s, alone {alone.longest_gap:.3f} s")
    assert outcome.undocumented == []
    assert [set(texts) for texts in beside.texts] == [set(texts) for texts in alone.texts]
    await asyncio.to_thread(until, attacked.is_idle, "nothing is left of the attack")
    assert attacked.metrics()["millrace_engine_restarts_total"] == 0
