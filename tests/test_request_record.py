"""Every request has an id and a line in the log that says what became of it; refusals are counted by their reason."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from app.api.gate.access import AccessRules
from app.api.gate.keys import KeyRing
from app.api.record import choose_request_id, parse_traceparent
from app.engine.health import Overloaded, QueueShareUsed
from app.logs import ConsoleFormatter, JsonFormatter, LogContext, configure_logging, log_context
from app.messages import FinishReason
from app.metrics import Metrics
from tests.raw_client import connected, post
from tests.scripted_engine import ScriptedEngine, ids, listening, make_app, started

COMPLETIONS = "/v1/completions"
TRACE_ID, SPAN_ID = "ab" * 16, "cd" * 8
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """What was logged of requests, as JSON would have it; grows while the test goes on."""
    told: list[dict[str, Any]] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(json.loads(JsonFormatter().format(record)))

    logger = logging.getLogger("millrace.request")
    handler = Lines()
    logger.addHandler(handler)
    caplog.set_level(logging.INFO, logger.name)
    yield told
    logger.removeHandler(handler)


async def test_a_request_keeps_the_id_it_came_with_and_gets_one_if_it_had_none() -> None:
    async with started(make_app(ScriptedEngine())) as client:
        given = await client.get("/version", headers={"x-request-id": "order-66/a"})
        made = [(await client.get("/version")).headers["x-request-id"] for _ in range(2)]
    assert given.headers["x-request-id"] == "order-66/a"
    assert len(set(made)) == 2


@pytest.mark.parametrize("bad", ["", "a b", "a\u2028b", "x" * 129, 'a"b', "{}"])
def test_an_id_that_could_spoil_a_line_is_replaced(bad: str) -> None:
    assert choose_request_id(bad) != bad
    assert choose_request_id("kept") == "kept"


@pytest.mark.parametrize(
    "bad",
    [
        *("", "00", f"ff-{TRACE_ID}-{SPAN_ID}-01", f"00-{'0' * 32}-{SPAN_ID}-01", f"00-{TRACE_ID}-{'0' * 16}-01"),
        *(f"00-{TRACE_ID.upper()}-{SPAN_ID}-01", f"{TRACEPARENT}-more", f"00-{TRACE_ID}-{SPAN_ID}"),
    ],
)
def test_a_malformed_trace_context_is_none(bad: str) -> None:
    assert parse_traceparent(bad).trace_id == ""


def test_a_later_version_of_trace_context_is_read_as_far_as_it_is_known() -> None:
    trace = parse_traceparent(f"01-{TRACE_ID}-{SPAN_ID}-00-more")
    assert (trace.trace_id, trace.span_id, trace.sampled) == (TRACE_ID, SPAN_ID, False)
    assert parse_traceparent(TRACEPARENT).sampled


@pytest.mark.parametrize("stream", [True, False])
async def test_a_finished_request_is_one_line_with_its_timings(lines: list[dict[str, Any]], stream: bool) -> None:
    async with started(make_app(ScriptedEngine(ids("hello")))) as client:
        body = {"prompt": "secret", "max_tokens": 4, "stream": stream}
        await client.post(COMPLETIONS, json=body, headers={"x-request-id": "r1", "traceparent": TRACEPARENT})
    [line] = lines
    assert (
        line.items()
        >= {
            "request_id": "r1",
            "trace_id": TRACE_ID,
            "route": f"POST {COMPLETIONS}",
            "status": 200,
            "outcome": "length",
            "stream": stream,
            "sequences": 1,
            "prompt_tokens": 6,
            "cached_tokens": 3,
            "output_tokens": 4,
            "preemptions": 0,
        }.items()
    )
    assert 0 <= line["first_token_ms"] <= line["duration_ms"]
    assert line["response_id"].startswith("cmpl-")
    assert "secret" not in json.dumps(line)
    assert "hell" not in json.dumps(line)


async def test_texts_are_logged_only_when_asked_for(lines: list[dict[str, Any]]) -> None:
    async with started(make_app(ScriptedEngine(ids("wörld")), log_prompts=True)) as client:
        await client.post(COMPLETIONS, json={"prompt": "hé", "n": 2})
    [line] = lines
    assert line["texts"] == [{"prompt": "hé", "answer": "wörld"}] * 2


async def test_a_refused_request_is_a_line_and_a_count_by_its_reason(lines: list[dict[str, Any]]) -> None:
    metrics = Metrics()
    engine = ScriptedEngine(refusals={0: Overloaded("the queue is full", 9)})
    async with started(make_app(engine, metrics=metrics)) as client:
        await client.post(COMPLETIONS, json={"prompt": "a"})
        await client.post(COMPLETIONS, json={"prompt": "a", "temperature": -1})
        await client.post(COMPLETIONS, json={"prompt": "a" * 100})
    assert [line["outcome"] for line in lines] == ["overloaded", "invalid_value", "context_length_exceeded"]
    assert [line["status"] for line in lines] == [429, 400, 400]
    for reason in ("overloaded", "invalid_value", "context_length_exceeded"):
        found = metrics.registry.get_sample_value("millrace_admission_rejections_total", {"reason": reason})
        assert found == 1, reason


async def test_a_key_that_has_its_share_of_the_queue_is_told_apart_from_a_full_queue(
    lines: list[dict[str, Any]],
) -> None:
    async with started(make_app(ScriptedEngine(refusals={0: QueueShareUsed("yours is used", 9)}))) as client:
        answer = await client.post(COMPLETIONS, json={"prompt": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
    assert [line["outcome"] for line in lines] == ["queue_share"]


async def test_a_request_that_is_refused_before_it_is_routed_has_its_route(lines: list[dict[str, Any]]) -> None:
    metrics = Metrics()
    async with started(make_app(ScriptedEngine(), metrics=metrics, access=AccessRules(KeyRing("ann:key")))) as client:
        await client.post(COMPLETIONS, json={"prompt": "a"})
    assert [(line["route"], line["outcome"]) for line in lines] == [(f"POST {COMPLETIONS}", "invalid_api_key")]
    labels = {"route": COMPLETIONS, "status": "401"}
    assert metrics.registry.get_sample_value("millrace_http_requests_total", labels) == 1


async def test_a_stream_that_breaks_off_says_why(lines: list[dict[str, Any]]) -> None:
    engine = ScriptedEngine([97], ending=FinishReason.ERROR)
    async with started(make_app(engine)) as client:
        await client.post(COMPLETIONS, json={"prompt": "a", "stream": True})
    [line] = lines
    assert (line["status"], line["outcome"]) == (200, "error")
    assert "could not finish" in line["error"]


async def test_a_stream_that_breaks_off_over_a_connection_says_why_too(lines: list[dict[str, Any]]) -> None:
    """Its events are written where its tokens come from, which knows of no request."""
    engine = ScriptedEngine()
    async with listening(make_app(engine)) as (address, _), connected(address) as client:
        await client.send(post(json.dumps({"prompt": "ab", "stream": True}).encode(), extra=b"Connection: close\r\n"))
        await engine.until(lambda: bool(engine.submissions))
        engine.write("c")
        assert b'"text":"c"' in await client.reader.readuntil(b"}\n\n")
        engine.die()
        assert b"data: [DONE]" in await client.rest()
    assert (lines[-1]["outcome"], lines[-1]["status"]) == ("engine_died", 200)
    assert "the engine process ended" in lines[-1]["error"]


async def test_probes_and_scrapes_write_no_lines(lines: list[dict[str, Any]]) -> None:
    async with started(make_app(ScriptedEngine())) as client:
        for path in ("/health", "/ready", "/metrics", "/v1/models"):
            await client.get(path)
    assert lines == []


async def test_a_bug_is_logged_with_its_request_and_the_answer_has_the_id(caplog: pytest.LogCaptureFixture) -> None:
    engine = ScriptedEngine(refusals={0: ZeroDivisionError("a bug")})
    async with started(make_app(engine)) as client:
        answer = await client.post(COMPLETIONS, json={"prompt": "a"}, headers={"x-request-id": "r2"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "r2")
    assert any(record.exc_info for record in caplog.records)


async def test_readiness_is_told_at_the_moment_of_a_scrape() -> None:
    async with started(make_app(ScriptedEngine())) as client:
        assert "millrace_engine_ready 1.0" in (await client.get("/metrics")).text
    async with started(make_app(ScriptedEngine(ready=None)), when_loaded=False) as client:
        assert "millrace_engine_ready" in (await client.get("/metrics")).text


# The two formats


def record_of(message: str, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("millrace.x", logging.INFO, "x.py", 1, message, (), None)
    record.fields = fields
    return record


def test_nothing_in_a_field_can_begin_a_line_or_another_field() -> None:
    text = ConsoleFormatter().format(record_of("m", a="x\ny\u2028z", b='p q="r"', c="plain", d=1.5))
    assert text.endswith(r'm a="x\ny\u2028z" b="p q=\"r\"" c=plain d=1.5')


def test_a_field_that_the_message_contains_is_not_repeated_on_a_line_for_people_but_stays_in_json() -> None:
    record = record_of("POST /x 200", route="POST /x", status=200, tokens=3)
    record.fields_in_message = ("route", "status")
    assert ConsoleFormatter().format(record).endswith("millrace.x: POST /x 200 tokens=3")
    assert {"route": "POST /x", "status": 200, "tokens": 3}.items() <= json.loads(
        JsonFormatter().format(record)
    ).items()


def test_json_holds_time_level_request_and_exception() -> None:
    token = log_context.set(LogContext("r3", TRACE_ID))
    try:
        raise ZeroDivisionError("why")
    except ZeroDivisionError:
        record = logging.LogRecord("n", logging.ERROR, "x.py", 1, "bad %s", ("thing",), sys.exc_info())
        line = json.loads(JsonFormatter().format(record))
    finally:
        log_context.reset(token)
    assert (line["level"], line["message"], line["request_id"], line["trace_id"]) == (
        "error",
        "bad thing",
        "r3",
        TRACE_ID,
    )
    assert "ZeroDivisionError: why" in line["exception"]
    assert "span_id" not in line


def test_libraries_and_warnings_speak_the_same_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers.clear()
    try:
        configure_logging("info", "json")
        logging.getLogger("some.library").info("running on %s", "port 1")
        logging.getLogger("py.warnings").warning("old")
    finally:
        logging.captureWarnings(False)
        root.handlers[:], root.level = before
    messages = [json.loads(line)["message"] for line in written.getvalue().splitlines()]
    assert messages == ["running on port 1", "old"]
