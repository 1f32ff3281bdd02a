"""A request that takes too long ends, and is told which of its times was too long."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

from app.api.request_limits import RequestLimits
from app.engine.stream import CutReason
from app.messages import FinishReason
from tests.scripted_engine import ScriptedEngine, make_app, started

COMPLETIONS = "/v1/completions"
BRIEF = RequestLimits(request_seconds=0.02)


def counted(app: FastAPI, code: str) -> int:
    return int(app.state.service.collector.error_causes[code])


async def test_who_was_never_scheduled_is_told_to_come_again() -> None:
    engine = ScriptedEngine(script=(), ending=FinishReason.QUEUE_TIMEOUT)
    app = make_app(engine)
    async with started(app) as client:
        answer = await client.post(COMPLETIONS, json={"prompt": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_timeout")
    assert int(answer.headers["retry-after"]) > 0
    assert counted(app, "queue_timeout") == 1


@pytest.mark.parametrize("body", [{"stream": False}, {"stream": True}, {"stream": True, "n": 2}])
async def test_a_request_that_takes_too_long_is_cut_off_everywhere(body: dict[str, Any]) -> None:
    engine = ScriptedEngine()
    app = make_app(engine, limits=BRIEF)
    async with started(app) as client:
        answer = await client.post(COMPLETIONS, json={"prompt": "x", **body})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "request_timeout")
    assert answer.headers["x-should-retry"] == "false"
    assert [stream.finish_reason for stream in engine.closed] == [CutReason.REQUEST_TIMEOUT] * body.get("n", 1)
    assert counted(app, "request_timeout") == 1
