"""The stream of statistics: a snapshot, deltas, an end; and memory that does not grow with who watches."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.engine.health import EngineState, Overloaded
from app.engine.stream import EngineDied, TokenStream
from app.messages import FinishReason
from app.statistics.broadcast import MAX_DELTAS_BEHIND, MAX_SUBSCRIBERS, Broadcast, Subscription
from app.statistics.collector import MAX_FINISHED, StatisticsCollector
from tests.scripted_engine import HEALTHY, ScriptedEngine, data_of, listening, make_app, started
from tests.test_statistics_collector import step

PATH = "/v1/stats/stream"


def make_broadcast() -> tuple[StatisticsCollector, Broadcast]:
    collector = StatisticsCollector("tiny")
    return collector, Broadcast(collector, lambda: {"state": "ready"})


def finish(collector: StatisticsCollector, count: int) -> None:
    for _ in range(count):
        stream = TokenStream(1, 5, 10.0, lambda _: None)
        stream.times.finished = 11.0
        stream.end(FinishReason.STOP)
        stream.wake()
        collector.sequence_finished(stream)


async def events_of(broadcast: Broadcast, subscription: Subscription | None = None) -> list[dict[str, Any]]:
    """Everything that a subscriber is given once the broadcast has closed."""
    broadcast.close()
    events = [event async for event in (subscription or broadcast.subscribe()).events()]
    return data_of(b"".join(events).decode())


async def test_a_subscriber_gets_a_snapshot_and_then_what_is_new() -> None:
    collector, broadcast = make_broadcast()
    finish(collector, 3)
    collector.step_taken(step())
    broadcast.tick()
    events = broadcast.subscribe().events()
    [snapshot] = data_of((await anext(events)).decode())
    finish(collector, 1)
    collector.step_taken(step())
    collector.step_taken(step())
    broadcast.tick()
    [delta] = data_of((await anext(events)).decode())
    assert (snapshot["type"], len(snapshot["frames"]), len(snapshot["steps"]), len(snapshot["requests"])) == (
        "snapshot",
        1,
        1,
        3,
    )
    assert (delta["type"], len(delta["frames"]), len(delta["steps"]), len(delta["requests"])) == ("delta", 1, 2, 1)
    assert delta["number"] == snapshot["number"] + 1
    assert delta["finish_reasons"] == {"stop": 4}
    assert delta["totals"]["steps"] == 3
    for kind, fields in snapshot["fields"].items():
        assert {len(row) for row in snapshot[kind]} == {len(fields)}


async def test_a_snapshot_does_not_contain_what_the_next_delta_will() -> None:
    collector, broadcast = make_broadcast()
    broadcast.tick()
    finish(collector, 2)
    collector.step_taken(step())
    [snapshot] = data_of(broadcast.snapshot().decode())
    broadcast.tick()
    [delta] = data_of(broadcast.since(snapshot["number"]).decode())
    assert (len(snapshot["requests"]), len(delta["requests"])) == (0, 2)
    assert (len(snapshot["steps"]), len(delta["steps"])) == (0, 1)


async def test_a_subscriber_that_lags_a_little_loses_nothing_and_one_that_lags_more_loses_deltas() -> None:
    _, broadcast = make_broadcast()
    little, much = broadcast.subscribe().events(), broadcast.subscribe().events()
    await anext(much)
    for _ in range(3):
        broadcast.tick()
    await anext(little)
    for _ in range(MAX_DELTAS_BEHIND):
        broadcast.tick()
    for events in (little, much):
        deltas = data_of((await anext(events)).decode())
        assert [delta["number"] for delta in deltas] == list(range(4, 4 + MAX_DELTAS_BEHIND))


async def test_slow_subscribers_cost_the_same_memory_however_far_they_fall_behind() -> None:
    collector, broadcast = make_broadcast()
    readers = [broadcast.subscribe().events() for _ in range(MAX_SUBSCRIBERS)]
    for events in readers:
        await anext(events)
    sizes = []
    for _ in range(5):
        for _ in range(2 * MAX_DELTAS_BEHIND):
            finish(collector, MAX_FINISHED)
            collector.step_taken(step())
            broadcast.tick()
        sizes.append(sum(map(len, broadcast._deltas)))
    assert max(sizes) < 1.1 * min(sizes), "what is kept is the latest deltas, once"
    assert len({await anext(events) for events in readers}) == 1


async def test_places_are_limited_and_can_be_freed() -> None:
    _, broadcast = make_broadcast()
    subscriptions = [broadcast.subscribe() for _ in range(MAX_SUBSCRIBERS)]
    with pytest.raises(Overloaded):
        broadcast.subscribe()
    subscriptions[0].close()
    subscriptions[0].close()
    broadcast.subscribe()


async def test_a_subscription_ends_when_the_server_stops() -> None:
    _, broadcast = make_broadcast()
    subscription = broadcast.subscribe()
    [snapshot] = await events_of(broadcast, subscription)
    assert snapshot["type"] == "snapshot"


async def test_the_stream_reports_the_progress_of_loading() -> None:
    loading = replace(HEALTHY, state=EngineState.LOADING, phase="reading the weights", progress=0.4)
    app = make_app(ScriptedEngine(health=loading, ready=None))
    async with started(app):
        [event] = await events_of(app.state.service.broadcast)
    assert (event["state"], event["phase"], event["progress"]) == ("loading", "reading the weights", 0.4)
    assert event["engine"] is None


async def test_errors_are_counted_by_their_cause_streamed_or_not() -> None:
    engine, collector = ScriptedEngine(refusals={1: Overloaded("full", 1)}), StatisticsCollector("tiny")
    async with started(make_app(engine, collector=collector)) as client:
        broken = asyncio.create_task(client.post("/v1/completions", json={"prompt": "a", "stream": True}))
        await engine.until(lambda: bool(engine.submissions))
        engine.die(EngineDied("it ended"))
        await broken
        await client.post("/v1/completions", json={"prompt": "a"})
        await client.post("/v1/completions", json={})
        await client.post("/v1/completions", json={"prompt": "a", "model": "other"})
    assert collector.error_causes == {
        "engine_died": 1,
        "overloaded": 1,
        "missing_required_parameter": 1,
        "model_not_found": 1,
    }


async def test_many_subscribers_that_never_read_delay_nobody_and_the_server_still_ends() -> None:
    app = make_app(ScriptedEngine(script=list(b"word")))
    async with listening(app) as (url, _), httpx.AsyncClient(base_url=url) as client:
        address = httpx.URL(url)
        stuck = [socket.create_connection((address.host, address.port)) for _ in range(MAX_SUBSCRIBERS - 1)]
        for connection in stuck:
            connection.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with client.stream("GET", PATH) as watching:
            lines = watching.aiter_lines()
            for _ in range(2 * MAX_DELTAS_BEHIND):
                app.state.service.broadcast.tick()
            answer = await client.post("/v1/completions", json={"prompt": "a", "max_tokens": 4})
            assert answer.json()["choices"][0]["text"] == "word"
            seen = 0
            while seen < MAX_DELTAS_BEHIND:
                line = await anext(lines)
                if line.startswith("data: "):
                    seen = json.loads(line.removeprefix("data: "))["number"]
        for connection in stuck:
            connection.close()


async def test_the_stream_ends_with_done_when_the_server_drains() -> None:
    app = make_app(ScriptedEngine())
    async with listening(app) as (url, _), httpx.AsyncClient() as client:

        async def watch() -> str:
            return (await client.get(url + PATH)).text

        watching = asyncio.create_task(watch())
        async with asyncio.timeout(30):
            while not app.state.service.broadcast._subscribers:
                await asyncio.sleep(0)
            app.state.service.broadcast.close()
            *_, done = data_of(await watching)
    assert done == "[DONE]"
    assert app.state.service.broadcast._subscribers == set()
