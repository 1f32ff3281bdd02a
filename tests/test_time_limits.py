"""A request that takes too long ends, and is told which of its times was too long."""

from __future__ import annotations

from app.messages import FinishReason
from tests.scripted_engine import ScriptedEngine, make_app, started

COMPLETIONS = "/v1/completions"


async def test_who_was_never_scheduled_is_told_to_come_again() -> None:
    engine = ScriptedEngine(script=(), ending=FinishReason.QUEUE_TIMEOUT)
    app = make_app(engine)
    async with started(app) as client:
        answer = await client.post(COMPLETIONS, json={"prompt": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_timeout")
    assert int(answer.headers["retry-after"]) > 0
    assert app.state.service.recorder.error_causes["queue_timeout"] == 1
