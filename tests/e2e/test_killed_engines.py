"""An engine that dies in every kind of step and in every phase of a start: streams go on as if nothing had been, and a
request that kills it each time ends alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.engine.restarts import MAX_FAILED_RESTARTS, MAX_KILLED_STARTS
from tests.e2e.deadly_engine import Deadly, DeadlyStarts
from tests.e2e.directories import TextModel
from tests.e2e.server import ONE_THREAD, ServerProcess, started, until
from tests.e2e.streams import DONE, Reading, all_begun, is_error, read_whole

MODULE = "tests.e2e.deadly_server"
OPTIONS = ("--kv-cache-memory", "64MiB", "--speculative", "ngram", "--max-num-batched-tokens", "64", *ONE_THREAD)
PHASES = (
    "starting the process",
    "importing torch",
    "reading the configuration",
    "preparing the kernels",
    "loading the weights",
    "making the cache",
    "packing the weights",
    "warming up",
)
KILLERS = [deadly for deadly in Deadly if deadly is not Deadly.ABORTED]

INNOCENT: list[dict[str, Any]] = [
    {"prompt": "the miller and the wheel", "temperature": 0, "max_tokens": 600},
    {"prompt": "grain, water, stone: " * 8, "temperature": 0, "max_tokens": 600},
    {"prompt": "flour falls into the sack", "temperature": 1, "seed": 7, "max_tokens": 600},
    {"prompt": "a mill race carries water", "temperature": 0.8, "seed": 8, "top_p": 0.9, "max_tokens": 600},
    {"prompt": "the river", "temperature": 0, "repetition_penalty": 1.2, "max_tokens": 600},
]


def marked(deadly: Deadly) -> dict[str, Any]:
    """A prompt of more tokens than a step takes, in which everything has been said before."""
    return {"prompt": "10 + 10 = 20, " * 20, "temperature": 0, "seed": int(deadly), "max_tokens": 600}


class DeadlyServer:
    """The server, and what its innocent requests are answered while nothing dies."""

    def __init__(self, process: ServerProcess, plan: Path) -> None:
        self.process = process
        self.plan = plan
        self.texts: list[str] = []

    @property
    def num_restarts(self) -> int:
        restarts: int = self.process.health().json()["restarts"]
        return restarts

    def kill(self, *phases: str) -> None:
        """Kill the engine, and those started after it in these phases."""
        self.plan.write_text("".join(f"{phase}\n" for phase in phases))
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """A signal to the engine, which is no child of the server's here."""
        os.kill(int(DeadlyStarts(self.plan).pid_file.read_text()), number)

    async def begin(self, client: httpx.AsyncClient) -> list[Reading]:
        """All innocent requests, streamed, once they have begun."""
        await asyncio.to_thread(self.process.until_ready)
        if not self.texts:
            answers = await asyncio.gather(*(read_whole(client, self.process.url, body) for body in INNOCENT))
            self.texts = [text for text, _ in answers]
        streams = [Reading(client, self.process.url, body) for body in INNOCENT]
        await all_begun(streams)
        return streams

    async def check(self, streams: list[Reading]) -> None:
        """They end as if nothing had been."""
        for stream, text in zip(streams, self.texts, strict=True):
            *_, last, done = await stream.end()
            assert (stream.text, last["choices"][0]["finish_reason"], done) == (text, "length", DONE)


@pytest.fixture(scope="module")
def server(model: TextModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeadlyServer]:
    plan = tmp_path_factory.mktemp("deaths") / "plan"
    plan.touch()
    with started(model.directory, "--plan", str(plan), *OPTIONS, module=MODULE) as process:
        yield DeadlyServer(process, plan)
        print(process.output)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=60) as made:
        yield made


async def code_of(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> str:
    """The error that a streamed request ends with, whether the stream has begun or not."""
    async with client.stream("POST", f"{url}/v1/completions", json=body | {"stream": True}) as response:
        if response.status_code != httpx.codes.OK:
            assert (response.status_code, response.headers["x-should-retry"]) == (500, "false")
            assert "retry-after" not in response.headers
            await response.aread()
            code: str = response.json()["error"]["code"]
            return code
        *_, error, done = [line async for line in response.aiter_lines() if line]
        assert done == f"data: {DONE}"
        assert '"error"' in error
        return "kills_engine" if '"kills_engine"' in error else error


@pytest.mark.parametrize(
    "killer",
    [
        pytest.param(killer, id=killer.name.lower(), marks=[] if killer is Deadly.DECODE else pytest.mark.slow)
        for killer in KILLERS
    ],
)
async def test_a_request_that_kills_the_engine_ends_alone_and_is_not_to_be_sent_again(
    server: DeadlyServer, client: httpx.AsyncClient, killer: Deadly
) -> None:
    streams = await server.begin(client)
    before = server.num_restarts
    assert await code_of(client, server.process.url, marked(killer)) == "kills_engine"
    await server.check(streams)
    assert 3 <= server.num_restarts - before <= 8


@pytest.mark.slow
async def test_killers_of_every_kind_at_once_end_and_nobody_else(
    server: DeadlyServer, client: httpx.AsyncClient
) -> None:
    streams = await server.begin(client)
    codes = await asyncio.gather(*(code_of(client, server.process.url, marked(killer)) for killer in KILLERS))
    assert codes == ["kills_engine"] * len(KILLERS)
    await server.check(streams)


@pytest.mark.slow
async def test_killers_are_found_where_steps_overlap_and_the_last_tokens_are_not_reported(
    model: TextModel, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    plan = tmp_path / "plan"
    plan.touch()
    options = ("--kv-cache-memory", "64MiB", "--overlap", "on", *ONE_THREAD)
    with started(model.directory, "--plan", str(plan), *options, module=MODULE) as process:
        server = DeadlyServer(process, plan)
        streams = await server.begin(client)
        killers = (Deadly.DECODE, Deadly.FIRST_STEP)
        codes = await asyncio.gather(*(code_of(client, process.url, marked(killer)) for killer in killers))
        assert codes == ["kills_engine"] * 2
        await server.check(streams)


async def test_an_engine_that_dies_in_an_empty_step_comes_back(server: DeadlyServer, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(server.process.until_ready)
    await asyncio.to_thread(until, server.process.is_idle, "nothing runs")
    before = server.num_restarts
    leaver = Reading(client, server.process.url, marked(Deadly.ABORTED))
    await all_begun([leaver])
    await leaver.leave()
    await asyncio.to_thread(until, lambda: server.num_restarts == before + 1, "it is started again")
    await server.check(await server.begin(client))


@pytest.mark.slow
async def test_an_engine_that_dies_of_an_abort_costs_the_others_nothing(
    server: DeadlyServer, client: httpx.AsyncClient
) -> None:
    streams = await server.begin(client)
    leaver = Reading(client, server.process.url, marked(Deadly.ABORTED))
    await all_begun([leaver])
    await leaver.leave()
    await server.check(streams)


@pytest.mark.parametrize("num_times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("phase", [pytest.param(phase, marks=pytest.mark.slow) for phase in PHASES])
async def test_streams_outlive_engines_that_are_killed_while_they_start(
    server: DeadlyServer, client: httpx.AsyncClient, phase: str, num_times: int
) -> None:
    streams = await server.begin(client)
    before = server.num_restarts
    server.kill(*[phase] * num_times)
    await server.check(streams)
    assert server.num_restarts == before + 1 + num_times


async def test_streams_outlive_engines_that_are_killed_in_one_phase_after_the_other(
    server: DeadlyServer, client: httpx.AsyncClient
) -> None:
    """Four in a row: one more, and it would be given up."""
    streams = await server.begin(client)
    before = server.num_restarts
    server.kill("starting the process", "loading the weights", "packing the weights", "warming up")
    await server.check(streams)
    assert server.num_restarts == before + MAX_KILLED_STARTS


@pytest.mark.slow
async def test_a_restart_that_fails_each_time_ends_the_streams_and_the_server_with_the_reason(
    model: TextModel, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    plan = tmp_path / "plan"
    plan.touch()
    with started(model.directory, "--plan", str(plan), *OPTIONS, module=MODULE) as process:
        server = DeadlyServer(process, plan)
        await asyncio.to_thread(process.until_ready)
        stream = Reading(client, process.url, INNOCENT[0] | {"max_tokens": 8000})
        await all_begun([stream])
        server.kill(*["error while loading the weights"] * MAX_FAILED_RESTARTS)
        *_, error, done = await stream.end()
        assert is_error(error)
        assert (error["error"]["code"], done) == ("engine_died", DONE)
        assert await asyncio.to_thread(process.exit_code) == 1
        last = process.output.splitlines()[-1]
        assert last == "millrace: the engine cannot start: RuntimeError: as planned (the log has the traceback)"


@pytest.mark.parametrize(
    ("planned", "reason"),
    [
        pytest.param(
            ["error while warming up"],
            "the engine cannot start: RuntimeError: as planned",
            id="an error",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["loading the weights"] * MAX_KILLED_STARTS,
            "SIGKILL), 5 times in a row before it was ready",
            id="killed each time",
            marks=pytest.mark.slow,
        ),
    ],
)
async def test_a_first_start_that_cannot_succeed_ends_the_server_with_the_reason(
    model: TextModel, tmp_path: Path, planned: list[str], reason: str
) -> None:
    plan = tmp_path / "plan"
    plan.write_text("".join(f"{phase}\n" for phase in planned))
    with started(model.directory, "--plan", str(plan), *OPTIONS, module=MODULE) as process:
        assert await asyncio.to_thread(process.exit_code, 120) == 1
        last = process.output.splitlines()[-1]
        assert last.startswith("millrace: ")
        assert reason in last
    assert plan.read_text() == ""


@pytest.mark.slow
async def test_a_stopped_engine_is_told_by_health_and_its_streams_go_on(
    model: TextModel, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    plan = tmp_path / "plan"
    plan.touch()
    with started(model.directory, "--plan", str(plan), "--step-timeout", "5", *OPTIONS, module=MODULE) as process:
        server = DeadlyServer(process, plan)
        streams = await server.begin(client)
        server.send(signal.SIGSTOP)
        await asyncio.to_thread(until, lambda: process.health().status_code == 503, "health tells")
        await asyncio.to_thread(
            until, lambda: "without an answer" in process.health().json()["reason"], "why it was killed"
        )
        await server.check(streams)
        assert server.num_restarts == 1
