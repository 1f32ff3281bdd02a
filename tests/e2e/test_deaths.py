"""How the server and its engine end: no stream is left hanging, and everyone is told what happened."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import openai
import psutil
import pytest
import pytest_asyncio

from tests.e2e.directories import TextModel
from tests.e2e.server import ONE_THREAD, ServerProcess, printed_by_a_start_that_fails, started, until
from tests.e2e.streams import DONE, Reading, all_begun

PROMPT = "the miller and the wheel"
ENDLESS = {"prompt": PROMPT, "temperature": 0, "max_tokens": 8000}
SHORT = {"prompt": PROMPT, "temperature": 0, "max_tokens": 100}
SMALL = ("--kv-cache-memory", "64MiB", *ONE_THREAD)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=60) as made:
        yield made


@pytest.mark.slow
async def test_a_killed_engine_comes_back_and_every_stream_goes_on(
    server: ServerProcess, model: TextModel, client: httpx.AsyncClient
) -> None:
    long = {**SHORT, "max_tokens": 1000}
    streams = [Reading(client, server.url, long) for _ in range(8)]
    await all_begun(streams)
    whole = asyncio.create_task(client.post(f"{server.url}/v1/completions", json=SHORT))
    await asyncio.to_thread(until, lambda: server.health().json()["waiting"] == 1, "a ninth waits for its answer")
    restarts = server.health().json()["restarts"]
    assert server.engine_pid is not None
    os.kill(server.engine_pid, signal.SIGKILL)

    await asyncio.to_thread(until, lambda: "-9 (SIGKILL)" in server.health().json()["reason"], "the death is told")
    sick = server.health()
    assert (sick.status_code, sick.json()["state"]) == (503, "restarting")
    refused = await client.post(f"{server.url}/v1/completions", json=SHORT)
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, "server_error")
    assert int(refused.headers["retry-after"]) > 0

    await asyncio.to_thread(server.until_ready)
    well = server.health()
    assert (well.status_code, well.json()["restarts"]) == (200, restarts + 1)
    for stream in streams:
        *_, last, done = await stream.end()
        assert (stream.text, last["choices"][0]["finish_reason"]) == (model.continuation(PROMPT, 1000), "length")
        assert done == DONE
    answer = await whole
    assert (answer.status_code, answer.json()["choices"][0]["text"]) == (200, model.continuation(PROMPT, 100))


@pytest.mark.slow
async def test_a_signal_lets_streams_finish_for_a_while_and_tells_those_that_do_not(
    model: TextModel, client: httpx.AsyncClient
) -> None:
    with started(model.directory, "--drain-seconds", "1.5", *SMALL) as server:
        await asyncio.to_thread(server.until_ready)
        official = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        endless = Reading(client, server.url, ENDLESS)
        chunks = await official.completions.create(model=model.name, prompt=PROMPT, max_tokens=8000, stream=True)
        await all_begun([endless])
        short = [Reading(client, server.url, SHORT) for _ in range(8)]
        await all_begun(short)
        server.signal()

        await asyncio.to_thread(until, server.is_draining, "the server says that it is leaving")
        for stream in short:
            *_, last, done = await stream.end()
            assert (stream.text, last["choices"][0]["finish_reason"]) == (model.continuation(PROMPT, 100), "length")
            assert done == DONE
        *_, error, done = await endless.end()
        assert (error["error"]["code"], done) == ("aborted", DONE)
        with pytest.raises(openai.APIError, match="stopped before the end"):
            async for _ in chunks:
                pass
        await official.close()
        assert await asyncio.to_thread(server.exit_code) == 0, server.output
        assert "Traceback" not in server.output


@pytest.mark.slow
async def test_a_signal_under_many_streams_loses_none_and_readiness_ends_at_once(
    model: TextModel, client: httpx.AsyncClient
) -> None:
    """How soon that is, `tests/bench/readiness.py` measures."""
    body = SHORT | {"max_tokens": 300}
    with started(model.directory, *SMALL) as server:
        await asyncio.to_thread(server.until_ready)
        streams = [Reading(client, server.url, body) for _ in range(31)]
        last_to_end = Reading(client, server.url, body | {"max_tokens": 4000})
        await all_begun([*streams, last_to_end])
        server.signal()
        await asyncio.to_thread(until, server.is_draining, "the server says that it is leaving")
        refused = await client.post(f"{server.url}/v1/completions", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        expected = model.continuation(PROMPT, 300)
        for stream in streams:
            *_, last, done = await stream.end()
            assert (stream.text, last["choices"][0]["finish_reason"], done) == (expected, "length", DONE)
        *_, last, done = await last_to_end.end()
        assert (last["choices"][0]["finish_reason"], done) == ("length", DONE)
        assert await asyncio.to_thread(server.exit_code) == 0, server.output


async def test_a_second_signal_does_not_wait(model: TextModel, client: httpx.AsyncClient) -> None:
    with started(model.directory, "--drain-seconds", "300", *SMALL) as server:
        await asyncio.to_thread(server.until_ready)
        endless = Reading(client, server.url, ENDLESS)
        await all_begun([endless])
        engine_pid = server.engine_pid
        assert engine_pid is not None
        server.interrupt()
        await asyncio.to_thread(until, server.is_draining, "the server says that it is leaving")
        server.interrupt()
        *_, error, done = await endless.end()
        assert (error["error"]["code"], done) == ("aborted", DONE)
        assert await asyncio.to_thread(server.exit_code, 10) == 0, server.output
        until(lambda: not psutil.pid_exists(engine_pid), "the engine is gone too")
        assert "Finishing 1 answer, up to 300 s; Ctrl-C again stops now" in server.output
        assert "Stopping now" in server.output
        assert "Traceback" not in server.output


async def test_while_it_loads_the_server_says_so_and_can_be_ended(model: TextModel, client: httpx.AsyncClient) -> None:
    with started(model.directory, *SMALL) as server:
        health = await client.get(f"{server.url}/health")
        assert (health.status_code, health.json()["state"]) == (503, "loading")
        assert health.json()["phase"]
        refused = await client.post(f"{server.url}/v1/completions", json=SHORT)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert "loading" in refused.json()["error"]["message"]
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as official:
            with pytest.raises(openai.InternalServerError, match="loading"):
                await official.completions.create(model=model.name, prompt=PROMPT)
        server.signal()
        assert await asyncio.to_thread(server.exit_code) == 0, server.output
        assert "Traceback" not in server.output


def an_encoder_decoder(directory: Path, model: TextModel) -> None:
    for file in (*model.directory.glob("*token*"), model.directory / "model.safetensors"):
        (directory / file.name).write_bytes(file.read_bytes())
    config = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}
    (directory / "config.json").write_text(json.dumps(config))


def no_tokenizer(directory: Path, model: TextModel) -> None:
    for file in model.directory.iterdir():
        if "token" not in file.name:
            (directory / file.name).write_bytes(file.read_bytes())


@pytest.mark.parametrize(
    ("fill", "reason"),
    [pytest.param(an_encoder_decoder, "encoder", marks=pytest.mark.slow), (no_tokenizer, "no tokenizer")],
    ids=["an encoder-decoder", "no tokenizer"],
)
def test_a_directory_that_cannot_be_served_is_an_exit_with_the_reason(
    model: TextModel, tmp_path: Path, fill: Callable[[Path, TextModel], None], reason: str
) -> None:
    fill(tmp_path, model)
    *_, last = printed_by_a_start_that_fails(tmp_path)
    assert last.startswith("millrace: ")
    assert reason in last
