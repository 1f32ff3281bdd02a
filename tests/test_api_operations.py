"""Health tells the truth, and every answer that is an error has OpenAI's shape."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.engine.health import EngineState, Unavailable
from app.metrics import Metrics
from app.text.tokenizer import Tokenizer
from tests.scripted_engine import HEALTHY, MODEL, ScriptedEngine, byte_tokenizer, ids, listening, make_app, started

POSTS = [
    ("/v1/completions", {"prompt": "a"}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}),
]


async def get(path: str, engine: ScriptedEngine) -> tuple[int, Any]:
    async with started(make_app(engine)) as client:
        answer = await client.get(path)
        return answer.status_code, answer.json()


async def test_a_server_at_work_says_what_it_does() -> None:
    engine = ScriptedEngine(health=replace(HEALTHY, num_running=3, num_waiting=2, num_restarts=1, last_step_age=0.0125))
    assert await get("/health", engine) == (
        200,
        {
            "state": "ready",
            "reason": "",
            "phase": "",
            "progress": 1.0,
            "running": 3,
            "waiting": 2,
            "last_step_age_ms": 12.5,
            "restarts": 1,
        },
    )


@pytest.mark.parametrize("state", sorted(set(EngineState) - {EngineState.READY}))
async def test_a_server_that_cannot_serve_says_so_everywhere(state: EngineState) -> None:
    health = replace(HEALTHY, state=state, reason="a good one", phase="loading weights", progress=0.25)
    engine = ScriptedEngine(health=health, ready=None)
    async with started(make_app(engine)) as client:
        for path in ("/health", "/ready"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["state"]) == (503, state)
            assert answer.json()["reason"] == "a good one"
        assert (await client.get("/health")).json()["progress"] == 0.25
        for path, body in POSTS:
            answer = await client.post(path, json=body)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert "a good one" in answer.json()["error"]["message"]


async def test_a_step_overdue_is_not_healthy_but_still_accepts() -> None:
    engine = ScriptedEngine(health=replace(HEALTHY, step_overdue=True, last_step_age=99.0))
    status, state = await get("/health", engine)
    assert (status, state["reason"]) == (503, "A step is overdue.")
    assert (await get("/ready", engine))[0] == 200


async def test_the_port_answers_while_the_tokenizer_loads() -> None:
    may_load = threading.Event()

    def load() -> Tokenizer:
        may_load.wait()
        return byte_tokenizer()

    app = make_app(ScriptedEngine(ids("k")), load_tokenizer=load)
    async with started(app, when_loaded=False) as client:
        answer = await client.post("/v1/completions", json={"prompt": "a"})
        assert answer.status_code == 503
        assert "loading the tokenizer" in answer.json()["error"]["message"]
        assert (await client.get("/health")).json()["phase"] == "loading the tokenizer"
        may_load.set()
        await app.state.service.loading
        assert (await client.post("/v1/completions", json={"prompt": "a"})).status_code == 200


async def test_a_tokenizer_that_cannot_be_loaded_is_a_reason() -> None:
    def load() -> Tokenizer:
        raise ValueError("no such file")

    async with started(make_app(ScriptedEngine(), load_tokenizer=load)) as client:
        state = (await client.get("/health")).json()
    assert (state["state"], state["reason"]) == ("failed", "The tokenizer cannot be loaded: no such file")


async def test_an_engine_lost_between_the_check_and_the_request_is_a_503() -> None:
    engine = ScriptedEngine(refusals={0: Unavailable("the engine is restarting", 2)})
    async with started(make_app(engine)) as client:
        answer = await client.post("/v1/completions", json={"prompt": "a"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_the_lifespan_drains_the_engine() -> None:
    engine = ScriptedEngine()
    async with started(make_app(engine)):
        assert engine.drained == []
    assert engine.drained == [7.0]


async def test_the_one_model_is_listed_and_found_by_its_name() -> None:
    engine = ScriptedEngine()
    _, listed = await get("/v1/models", engine)
    [model] = listed["data"]
    assert (model["id"], model["object"], model["max_model_len"]) == (MODEL, "model", 64)
    assert await get(f"/v1/models/{MODEL}", engine) == (200, model)


@pytest.mark.parametrize(("path", "body"), POSTS)
async def test_another_model_is_not_found(path: str, body: dict[str, Any]) -> None:
    async with started(make_app(ScriptedEngine())) as client:
        answers = [await client.post(path, json=body | {"model": "gpt"}), await client.get("/v1/models/org/gpt")]
    for answer in answers:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert MODEL in error["message"]


async def test_unknown_routes_and_methods_have_the_shape_of_errors() -> None:
    async with started(make_app(ScriptedEngine())) as client:
        unknown, wrong = await client.get("/v2"), await client.get("/v1/completions")
    assert (unknown.status_code, unknown.json()["error"]["message"]) == (404, "There is no route GET /v2.")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error"]["message"] == "GET is not allowed on /v1/completions; use POST."


async def test_probes_may_ask_for_the_head_alone() -> None:
    async with listening(make_app(ScriptedEngine())) as (url, _), httpx.AsyncClient(base_url=url) as client:
        for path in ("/health", "/ready"):
            head, whole = await client.head(path), await client.get(path)
            assert (head.status_code, head.content) == (whole.status_code, b"")
            assert head.headers["content-length"] == str(len(whole.content))


@pytest.mark.parametrize("path", ["/health/", "/v1/completions/", "/docs", "/redoc"])
async def test_nobody_is_sent_elsewhere(path: str) -> None:
    """Neither by a redirect, which would be to the host that the client names, nor by a page with others' scripts."""
    async with started(make_app(ScriptedEngine())) as client:
        assert (await client.get(path)).json()["error"]["code"] == "unknown_route"


async def test_a_bug_is_a_500_that_tells_nothing() -> None:
    metrics, engine = Metrics(), ScriptedEngine(refusals={0: ZeroDivisionError("secret")})
    async with started(make_app(engine, metrics=metrics)) as client:
        answer = await client.post("/v1/completions", json={"prompt": "a"})
    assert b'route="/v1/completions",status="500"} 1.0' in metrics.render("")[0]
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


async def test_responses_are_counted_by_the_template_of_their_route() -> None:
    metrics = Metrics()
    async with started(make_app(ScriptedEngine(), metrics=metrics)) as client:
        for path in ("/v1/models/a", "/v1/models/b", "/x/1", "/x/2", "/version"):
            await client.get(path)
        text = (await client.get("/metrics")).text
    for route, status in (("/v1/models/{model:path}", "404"), ("unknown", "404")):
        assert f'millrace_http_requests_total{{route="{route}",status="{status}"}} 2.0' in text
    assert 'millrace_http_requests_total{route="/version",status="200"} 1.0' in text


async def test_metrics_are_given_in_the_format_that_is_asked_for() -> None:
    async with started(make_app(ScriptedEngine())) as client:
        plain = await client.get("/metrics")
        openmetrics = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert plain.headers["content-type"].startswith("text/plain")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")


async def test_the_version_is_told() -> None:
    assert await get("/version", ScriptedEngine()) == (200, {"version": "1.2.3"})


async def test_the_schema_describes_both_bodies() -> None:
    _, schema = await get("/openapi.json", ScriptedEngine())
    assert {"CompletionRequest", "ChatCompletionRequest"} <= set(schema["components"]["schemas"])
    prompt = schema["components"]["schemas"]["CompletionRequest"]["properties"]["prompt"]
    assert len(prompt["anyOf"]) == 4
