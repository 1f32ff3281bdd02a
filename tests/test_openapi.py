"""`/openapi.json` names every status that a route answers with, and no other."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from app.api.errors import ApiError
from app.api.gate.access import AccessRules
from app.api.gate.keys import KeyRing
from app.api.generation.dialect import Dialect, endpoints_by_path
from app.api.openapi import DESCRIPTIONS, OF_CONNECTIONS
from app.api.request_limits import RequestLimits
from app.api.routes import DEFAULT_DIALECT, ENDPOINTS
from app.engine.health import EngineState, Overloaded
from app.engine.stream import CutReason
from app.messages import FinishReason
from tests.scripted_engine import HEALTHY, MODEL, ScriptedEngine, ids, make_app, started

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
GENERATING = (COMPLETIONS, CHAT)
PROBES = ("/health", "/ready")
"""Whose 503 is no error, but what they were asked for."""

BODIES: dict[str, dict[str, Any]] = {
    COMPLETIONS: {"prompt": "a"},
    CHAT: {"messages": [{"role": "user", "content": "hi"}]},
}


def schema() -> dict[str, Any]:
    return make_app(ScriptedEngine()).openapi()


def documented(path: str) -> set[int]:
    [operation] = schema()["paths"][path].values()
    return {int(status) for status in operation["responses"]}


def dialect_of(path: str) -> Dialect:
    """The dialect in which errors of this path are written."""
    endpoint = endpoints_by_path(ENDPOINTS).get(path)
    return endpoint.dialect if endpoint is not None else DEFAULT_DIALECT


async def statuses(app: FastAPI, path: str, *requests: dict[str, Any]) -> list[int]:
    """Of these variations of a request that is right."""
    found = []
    async with started(app) as client:
        for request in requests:
            method = "POST" if path in BODIES else "GET"
            sent = {"json": BODIES[path]} if path in BODIES and "content" not in request else {}
            answer = await client.request(method, path, **sent | request)
            found.append(answer.status_code)
            if answer.status_code >= 400 and path not in PROBES:
                assert set(answer.json()) == set(json.loads(dialect_of(path).error_body(ApiError(400, "no"))))
    return found


def ending(reason: FinishReason) -> ScriptedEngine:
    return ScriptedEngine(ids(""), ending=reason)


@pytest.mark.parametrize("path", GENERATING)
async def test_every_status_that_is_documented_of_generation_comes_and_every_one_that_comes_is_documented(
    path: str,
) -> None:
    limits = RequestLimits(max_body_bytes=1000, receive_seconds=0.01)
    body = BODIES[path]
    came = await statuses(
        make_app(ScriptedEngine(ids("k")), limits=limits),
        path,
        {},
        {"json": body | {"temperature": 3}},
        {"json": body | {"model": "other"}},
        {"content": b"x" * 1001},
        {"content": b"{}", "headers": {"Content-Encoding": "gzip"}},
        {"content": late()},
    )
    came += await statuses(make_app(ScriptedEngine(), access=AccessRules(KeyRing("alice:key"))), path, {})
    came += await statuses(make_app(ScriptedEngine(), hosts=("localhost",)), path, {})
    came += await statuses(make_app(ScriptedEngine(refusals={0: Overloaded("full", 1)})), path, {})
    for reason in (FinishReason.ERROR, FinishReason.ABORT, FinishReason.QUEUE_TIMEOUT, CutReason.REQUEST_TIMEOUT):
        came += await statuses(make_app(ending(reason)), path, {})
    loading = replace(HEALTHY, state=EngineState.LOADING)
    came += await statuses(make_app(ScriptedEngine(health=loading)), path, {})
    from_the_connection = {431}  # tests/test_connection.py has it
    assert {*came, *from_the_connection} == documented(path)


async def late() -> Any:
    yield b"{"
    await asyncio.sleep(1)
    yield b"}"


@pytest.mark.parametrize("path", sorted({*schema()["paths"]} - {*GENERATING, "/v1/stats/stream"}))
async def test_every_status_of_the_other_routes_is_documented(path: str) -> None:
    loading = replace(HEALTHY, state=EngineState.LOADING)
    url = path.replace("{model}", MODEL)
    came = []
    for health in (HEALTHY, loading):
        came += await statuses(make_app(ScriptedEngine(health=health)), url, {})
    came += await statuses(make_app(ScriptedEngine(), hosts=("localhost",)), url, {})
    access = AccessRules(KeyRing("alice:key"), metrics_keys=KeyRing("metrics:key"))
    came += await statuses(make_app(ScriptedEngine(), access=access), url, {})
    if path != url:
        came += await statuses(make_app(ScriptedEngine()), url + "-other", {})
    assert {*came, *OF_CONNECTIONS} == documented(path)


def test_every_error_has_the_shape_of_errors_and_a_status_that_is_described() -> None:
    found = schema()
    for path, operations in found["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if int(status) in DESCRIPTIONS and not (path in PROBES and status == "503"):
                    [content] = answer["content"].values()
                    assert content["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
    assert {"ErrorBody", "ErrorObject"} <= set(found["components"]["schemas"])
    assert "ValidationError" not in json.dumps(found)
