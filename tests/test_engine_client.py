"""The engine process seen from the API's side: real pipes, a real model, real deaths."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from app.config import Config
from app.engine import child, restarts
from app.engine.client import EngineClient
from app.engine.health import EngineState, Overloaded, Unavailable
from app.engine.recovery import PROVING_STEPS
from app.engine.stream import MAX_TOKENS_BEHIND, EngineDied, TokenDelta, TokenStream
from app.messages import EngineReady, FinishReason, SamplingParams, StepOutput
from tests.models import generate_alone, greedy
from tests.reading import read

PROMPT = (5, 6, 7, 8)
LONG = SamplingParams(max_tokens=200, temperature=0.0)

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Witness:
    """Remembers what it observed, and wakes whoever waits for a state of the engine."""

    def __init__(self) -> None:
        self.ends: list[FinishReason | None] = []
        self.scheduled: list[int] = []
        self.begun: list[int] = []
        self.num_gaps = 0
        self.num_recovered = 0
        self.num_restarts = 0
        self.news = asyncio.Event()

    def step_taken(self, output: StepOutput) -> None:
        self.news.set()

    def sequence_scheduled(self, stream: TokenStream) -> None:
        self.scheduled.append(stream.seq_id)

    def first_token(self, stream: TokenStream) -> None:
        self.begun.append(stream.seq_id)

    def token_gap(self, seconds: float, count: int, example: TokenStream) -> None:
        self.num_gaps += count

    def sequence_finished(self, stream: TokenStream) -> None:
        self.ends.append(stream.finish_reason)

    def engine_ready(self, ready: EngineReady) -> None:
        self.phases = ready.phases
        self.news.set()

    def engine_restarted(self) -> None:
        self.num_restarts += 1
        self.news.set()

    def sequence_recovered(self) -> None:
        self.num_recovered += 1

    async def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def until_ready(self, client: EngineClient) -> None:
        await self.until(lambda: client.health.state is EngineState.READY, seconds=60)

    async def until_replaced(self, pid: int | None) -> None:
        """Kill the engine process, and wait until another has been started."""
        assert pid is not None
        num_restarts = self.num_restarts
        os.kill(pid, signal.SIGKILL)
        await self.until(lambda: self.num_restarts > num_restarts)


def has_more_than(stream: TokenStream, num_tokens: int) -> bool:
    return len(stream.output_token_ids) > num_tokens


async def collect(stream: TokenStream) -> list[int]:
    try:
        return await rest_of(read(stream))
    finally:
        stream.close()


async def rest_of(reader: AsyncIterator[TokenDelta]) -> list[int]:
    return [token_id async for delta in reader for token_id in delta.token_ids]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(llama_config: Config) -> AsyncIterator[tuple[EngineClient, Witness]]:
    witness = Witness()
    client = EngineClient(llama_config, witness, on_failed=pytest.fail)
    await client.start()
    await witness.until_ready(client)
    yield client, witness
    await client.stop(0)


Engine = tuple[EngineClient, Witness]


@pytest.fixture
def _engines_that_start_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forked from a process that has imported torch already, which is most of a start. The first engine is not."""
    monkeypatch.setattr(restarts, "MAX_DELAY_SECONDS", 0.01)
    multiprocessing.set_forkserver_preload(["app.engine.startup"])
    monkeypatch.setattr(child, "START_METHOD", "forkserver")


quickly = pytest.mark.usefixtures("_engines_that_start_quickly")


async def test_a_start_reports_how_long_each_phase_took(engine: Engine) -> None:
    client, witness = engine
    assert client.ready is not None
    phases = client.ready.phases
    assert list(phases)[:3] == ["starting the process", "importing torch", "reading the configuration"]
    assert list(phases)[-1] == "warming up"
    assert all(seconds >= 0 for seconds in phases.values())
    assert witness.phases == phases


async def test_streams_carry_the_models_tokens_and_a_reason(engine: Engine) -> None:
    client, witness = engine
    streams = [client.generate((*PROMPT, extra), greedy(9)) for extra in range(1, 5)]
    outputs = await asyncio.gather(*map(collect, streams))
    assert outputs == [generate_alone("Llama", (*PROMPT, extra), 9) for extra in range(1, 5)]
    assert [stream.finish_reason for stream in streams] == [FinishReason.LENGTH] * 4
    assert witness.num_gaps == 4 * 8
    assert witness.begun == witness.scheduled == [stream.seq_id for stream in streams]


async def test_a_reader_that_lags_gets_everything_in_one_delta(engine: Engine) -> None:
    client, witness = engine
    stream = client.generate(PROMPT, greedy(MAX_TOKENS_BEHIND + 1))
    await witness.until(lambda: stream.finish_reason is not None)
    deltas = [delta async for delta in read(stream)]
    assert [len(delta.token_ids) for delta in deltas] == [MAX_TOKENS_BEHIND + 1]


async def test_a_reader_that_is_a_little_late_gets_its_tokens_one_by_one(engine: Engine) -> None:
    client, witness = engine
    stream = client.generate(PROMPT, SamplingParams(max_tokens=MAX_TOKENS_BEHIND, temperature=0.0, logprobs=0))
    await witness.until(lambda: stream.finish_reason is not None)
    deltas = [delta async for delta in read(stream)]
    assert [len(delta.token_ids) for delta in deltas] == [1] * MAX_TOKENS_BEHIND
    assert [report.token_id for delta in deltas for report in delta.logprobs] == [
        delta.token_ids[0] for delta in deltas
    ]
    assert [delta.finish_reason for delta in deltas] == [None] * (MAX_TOKENS_BEHIND - 1) + [FinishReason.LENGTH]
    assert stream.times.scheduled is not None
    assert stream.times.first_token is not None
    assert stream.times.arrived <= stream.times.scheduled <= stream.times.first_token


async def test_a_closed_stream_leaves_the_engine_and_its_neighbour_continues(engine: Engine) -> None:
    client, witness = engine
    leaver, stayer = client.generate(PROMPT, LONG), client.generate((9, 9, 9), greedy(40))
    await anext(read(leaver))
    leaver.close()
    leaver.close()
    assert await collect(stayer) == generate_alone("Llama", (9, 9, 9), 40)
    await witness.until(lambda: client.health.num_running == 0)
    assert witness.ends[-2:] == [FinishReason.ABORT, FinishReason.LENGTH]
    assert client.num_open_streams == 0


async def test_the_last_reader_leaves_and_the_engine_lives(engine: Engine) -> None:
    client, witness = engine
    leaver = client.generate(PROMPT, LONG)
    await anext(read(leaver))
    leaver.close()
    await witness.until(lambda: client.health.num_running == 0)
    assert await collect(client.generate(PROMPT, greedy(3))) == generate_alone("Llama", PROMPT, 3)
    assert client.health.num_restarts == 0


async def test_prompt_logprobs_and_cached_tokens_arrive_with_the_stream(engine: Engine) -> None:
    client, _ = engine
    prompt = tuple(range(1, 41))
    stream = client.generate(prompt, SamplingParams(max_tokens=1, logprobs=2, prompt_logprobs=1, temperature=0.0))
    [delta] = [delta async for delta in read(stream)]
    assert [report.token_id for report in stream.prompt_logprobs] == list(prompt[1:])
    assert delta.logprobs[0].token_id == delta.token_ids[0] == delta.logprobs[0].top[0][0]
    again = client.generate(prompt, greedy(1))
    await collect(again)
    assert again.num_cached_tokens == 32


async def test_the_queue_is_bounded(engine: Engine) -> None:
    client, _ = engine
    streams = [client.generate(PROMPT, LONG) for _ in range(8)]
    with pytest.raises(Overloaded, match="limit 8 sequences"):
        client.generate(PROMPT, LONG)
    for stream in streams:
        stream.close()
    assert await collect(client.generate(PROMPT, greedy(3))) == generate_alone("Llama", PROMPT, 3)


async def test_streams_survive_a_killed_engine_with_the_tokens_they_would_have_had(engine: Engine) -> None:
    client, witness = engine
    witness.scheduled.clear()
    drawn = SamplingParams(max_tokens=60, temperature=1.0, seed=3)
    undisturbed = await asyncio.gather(*(collect(client.generate((*PROMPT, extra), drawn)) for extra in range(1, 9)))
    streams = [client.generate((*PROMPT, extra), drawn) for extra in range(1, 9)]
    readers = [read(stream) for stream in streams]
    begun = await asyncio.gather(*map(anext, readers[:4]))
    await witness.until_replaced(client.engine_pid)
    assert client.health.state is EngineState.RESTARTING
    assert "-9 (SIGKILL)" in client.health.reason
    with pytest.raises(Unavailable, match="-9"):
        client.generate(PROMPT, LONG)
    rest = await asyncio.wait_for(asyncio.gather(*map(rest_of, readers)), 60)
    outputs = [*([*first.token_ids, *later] for first, later in zip(begun, rest, strict=False)), *rest[4:]]
    assert outputs == undisturbed
    assert client.health.num_restarts == 1
    assert witness.num_recovered == 8
    assert sorted(witness.scheduled) == sorted({*witness.scheduled}), "no sequence is counted twice"


@quickly
async def test_a_stream_that_is_closed_during_a_restart_is_not_resubmitted(engine: Engine) -> None:
    client, witness = engine
    leaver, stayer = client.generate(PROMPT, LONG), client.generate((9, 9, 9), greedy(40))
    reader = read(stayer)
    await anext(read(leaver))
    first = await anext(reader)
    num_recovered = witness.num_recovered
    assert client.engine_pid is not None
    os.kill(client.engine_pid, signal.SIGKILL)
    leaver.close()
    assert [*first.token_ids, *await rest_of(reader)] == generate_alone("Llama", (9, 9, 9), 40)
    assert witness.num_recovered == num_recovered + 1


@quickly
async def test_a_stream_continues_however_often_its_engine_is_killed_if_it_grows_in_between(engine: Engine) -> None:
    client, witness = engine
    await witness.until_ready(client)
    stream = client.generate(PROMPT, LONG)
    for _ in range(3):
        await witness.until(partial(has_more_than, stream, len(stream.output_token_ids) + PROVING_STEPS))
        await witness.until_replaced(client.engine_pid)
    assert await asyncio.wait_for(collect(stream), 60) == generate_alone("Llama", PROMPT, LONG.max_tokens)


@quickly
async def test_an_engine_that_dies_again_during_its_restart_only_delays_the_streams(engine: Engine) -> None:
    client, witness = engine
    await witness.until_ready(client)
    streams = [client.generate((*PROMPT, extra), greedy(60)) for extra in range(1, 5)]
    await anext(read(streams[0]))
    await witness.until_replaced(client.engine_pid)
    await witness.until_replaced(client.engine_pid)
    outputs = await asyncio.wait_for(asyncio.gather(*map(collect, streams)), 60)
    expected = [generate_alone("Llama", (*PROMPT, extra), 60) for extra in range(1, 5)]
    assert [stream.output_token_ids for stream in streams] == expected
    assert outputs[1:] == expected[1:]


@quickly
async def test_a_sequence_that_no_longer_fits_after_a_restart_ends_with_the_reason_and_alone(
    llama_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process has a cache of a quarter."""
    room = 1 << 20
    config = llama_config.model_copy(update={"kv_cache_memory": room, "max_model_len": None})
    witness = Witness()
    client = EngineClient(config, witness, on_failed=pytest.fail)
    await client.start()
    await witness.until_ready(client)
    assert client.ready is not None
    num_bytes = client.ready.kv_cache_bytes // client.ready.num_blocks * 6
    smaller = config.model_copy(update={"kv_cache_memory": num_bytes})
    long, short = client.generate(PROMPT, LONG), client.generate((9, 9, 9), greedy(60))
    await anext(read(long))
    monkeypatch.setattr(client._supervisor, "_make_process", partial(child.EngineProcess, smaller))
    await witness.until_replaced(client.engine_pid)
    with pytest.raises(EngineDied, match="less memory: 96 tokens fit, this request may need 204"):
        await asyncio.wait_for(collect(long), 60)
    assert await collect(short) == generate_alone("Llama", (9, 9, 9), 60)
    assert client.health.num_restarts == 1
    await client.stop(0)


@quickly
async def test_a_suspended_engine_is_killed_and_restarted_and_its_pipe_blocks_nobody(
    llama_config: Config,
) -> None:
    """It is given more than its pipe holds while it does not read."""
    witness = Witness()
    config = llama_config.model_copy(update={"step_timeout": 0.5, "max_queue": 1000})
    client = EngineClient(config, witness, on_failed=pytest.fail)
    await client.start()
    await witness.until_ready(client)
    streams = [client.generate(PROMPT, greedy(100))]
    await anext(read(streams[0]))
    assert client.engine_pid is not None
    os.kill(client.engine_pid, signal.SIGSTOP)
    prompts = [tuple(1 + (i + j) % 100 for j in range(150)) for i in range(500)]
    streams += [client.generate(prompt, greedy(1)) for prompt in prompts]
    await witness.until(lambda: witness.num_restarts == 1)
    assert client.health.reason == "the engine process was killed after 0.5 s without an answer while taking a step"
    await asyncio.wait_for(asyncio.gather(*map(collect, streams)), 120)
    assert streams[0].output_token_ids == generate_alone("Llama", PROMPT, 100)
    assert streams[7].output_token_ids == generate_alone("Llama", prompts[6], 1)
    await client.stop(0)


@quickly
async def test_draining_lets_streams_finish_and_ends_those_that_do_not_in_time(llama_config: Config) -> None:
    witness = Witness()
    client = EngineClient(llama_config, witness, on_failed=pytest.fail)
    await client.start()
    await witness.until_ready(client)
    short = client.generate(PROMPT, greedy(3))
    await client.drain(30)
    assert short.finish_reason is FinishReason.LENGTH
    with pytest.raises(Unavailable, match="shutting down"):
        client.generate(PROMPT, LONG)
    await client.stop(0)
    assert client.health.state is EngineState.STOPPED


@quickly
async def test_a_sequence_that_is_not_scheduled_in_time_ends_and_leaves_the_queue(llama_config: Config) -> None:
    """So little time that every sequence is late as it comes."""
    witness = Witness()
    client = EngineClient(llama_config.model_copy(update={"queue_timeout": 1e-9}), witness, on_failed=pytest.fail)
    await client.start()
    await witness.until_ready(client)
    streams = [client.generate(PROMPT, LONG) for _ in range(3)]
    assert await asyncio.gather(*map(collect, streams)) == [[], [], []]
    assert witness.ends == [FinishReason.QUEUE_TIMEOUT] * 3
    assert client.num_open_streams == 0
    await client.stop(0)


@quickly
async def test_without_fair_sharing_a_priority_still_counts_no_more_than_it_does_between_keys(
    llama_config: Config,
) -> None:
    """All wait for one that runs; whose priority may go down to -5."""
    witness = Witness()
    config = llama_config.model_copy(update={"fair_sharing": False, "max_num_seqs": 1})
    client = EngineClient(config, witness, on_failed=pytest.fail)
    await client.start()
    await witness.until_ready(client)
    first = client.generate(PROMPT, LONG, owner="calm")
    await witness.until(lambda: witness.scheduled == [first.seq_id])
    calm, loud, patient, ordinary = streams = [
        client.generate(PROMPT, greedy(1), priority, owner=owner, precedence=min(0, max(priority, -5)))
        for owner, priority in (("calm", -5), ("loud", -(2**31)), ("loud", 1), ("calm", 0))
    ]
    await asyncio.gather(*map(collect, [first, *streams]))
    assert witness.scheduled == [stream.seq_id for stream in (first, calm, loud, ordinary, patient)]
    await client.stop(0)


@quickly
async def test_a_preempted_sequence_remembers_when(engine: Engine, llama_config: Config) -> None:
    """Four sequences that fill 5 blocks each, and 12 blocks."""
    ready = engine[0].ready
    assert ready is not None
    room = ready.kv_cache_bytes // ready.num_blocks * 12
    witness = Witness()
    client = EngineClient(llama_config.model_copy(update={"kv_cache_memory": room}), witness, on_failed=pytest.fail)
    await client.start()
    await witness.until_ready(client)
    streams = [client.generate((*PROMPT, extra), greedy(70)) for extra in range(1, 5)]
    outputs = await asyncio.gather(*map(collect, streams))
    assert outputs == [generate_alone("Llama", (*PROMPT, extra), 70) for extra in range(1, 5)]
    moments = [moment for stream in streams for moment in stream.times.preempted]
    assert moments
    for stream in streams:
        assert all(stream.times.arrived < moment <= (stream.times.finished or 0) for moment in stream.times.preempted)
    await client.stop(0)


@quickly
async def test_a_model_that_cannot_be_served_stops_the_engine_with_the_reason(
    llama_config: Config, tmp_path: Path
) -> None:
    reasons: asyncio.Queue[str] = asyncio.Queue()
    client = EngineClient(llama_config.model_copy(update={"model": str(tmp_path)}), Witness(), reasons.put_nowait)
    await client.start()
    assert "is empty; a model's directory needs" in await asyncio.wait_for(reasons.get(), 60)
    assert client.health.state is EngineState.FAILED
    await client.stop(0)
