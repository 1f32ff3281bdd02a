"""A dialect brings its own routes, fields, errors and events, and needs nothing but an entry in the table of routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from collections.abc import Sequence as Seq
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import httpx
import pytest
from fastapi import APIRouter, Request, Response
from pydantic import Field

from app.api.errors import ApiError
from app.api.gate.access import AccessRules
from app.api.gate.keys import KeyRing
from app.api.generation.choices import Piece
from app.api.generation.dialect import Answer, Dialect, Endpoint, Json
from app.api.generation.request import FieldNames, GenerationBody, GenerationRequest
from app.api.generation.responses import respond
from app.api.generation.route import GenerationRoute
from app.api.generation.usage import Usage
from app.api.routes import ENDPOINTS
from app.api.service import ServiceDependency
from app.engine.stream import EngineDied
from app.messages import FinishReason, Sampling
from tests.scripted_engine import ScriptedEngine, ids, make_app, started

PATH = "/v1/echo-dialect"
REASONS = {FinishReason.STOP: "end_turn", FinishReason.LENGTH: "max_length"}


class EchoRequest(GenerationBody):
    """Text to continue, under names that OpenAI does not have."""

    stand_ins: ClassVar = {"text": "-"}

    text: str
    model: str | None = None
    length: int | None = Field(None, ge=1)
    heat: float = Field(0.5, ge=0, le=1)
    choices: int = 1
    streamed: bool = False

    def neutral(self) -> GenerationRequest:
        return GenerationRequest(
            model=self.model,
            prompts=[self.text],
            sampling=Sampling(temperature=self.heat),
            given={"temperature"},
            names=FieldNames(prompt="text", max_tokens="length", num_choices="choices"),
            num_choices=self.choices,
            max_tokens=self.length,
            stream=self.streamed,
        )


class EchoDialect(Dialect):
    def error_body(self, error: ApiError) -> str:
        return json.dumps({"problem": {"what": str(error), "where": error.field, "kind": error.code}})

    def error_events(self, error: ApiError) -> str:
        return f"event: problem\ndata: {self.error_body(error)}\n\n"


class EchoAnswer(Answer):
    id = "echo"

    def write(self, piece: Piece) -> str:
        return f"event: text\ndata: {piece.text}\n\n" if piece.text else ""

    def end(self, usage: Usage) -> str:
        return f"event: stop\ndata: {usage.num_output_tokens}\n\n"

    def whole(self, choices: Seq[Piece], usage: Usage) -> Json:
        [piece] = choices
        assert isinstance(piece.finish_reason, FinishReason)
        spent = {"read": usage.num_prompt_tokens, "written": usage.num_output_tokens}
        return {"text": piece.text, "why": REASONS[piece.finish_reason], "spent": spent}


router = APIRouter(route_class=GenerationRoute)


@router.post(PATH)
async def create_echo(body: EchoRequest, request: Request, service: ServiceDependency) -> Response:
    return await respond(request, service, body.neutral(), lambda _: EchoAnswer())


@pytest.fixture(autouse=True)
def echo_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.app.ENDPOINTS", (*ENDPOINTS, Endpoint(router, EchoDialect(), "echo")))


@asynccontextmanager
async def client_of(engine: ScriptedEngine, access: AccessRules | None = None) -> AsyncIterator[httpx.AsyncClient]:
    async with started(make_app(engine, access=access)) as client:
        yield client


async def send(engine: ScriptedEngine, access: AccessRules | None = None, **body: Any) -> httpx.Response:
    async with client_of(engine, access) as client:
        return await client.post(PATH, json={"text": "a"} | body)


def problem(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    found = answer.json()["problem"]
    assert set(answer.json()) == {"problem"}
    return answer.status_code, found["where"], found["kind"]


async def test_a_dialect_has_its_own_answers_finish_reasons_and_usage() -> None:
    engine = ScriptedEngine(ids("hello"))
    answer = await send(engine, heat=0.25)
    assert answer.json() == {"text": "hello", "why": "end_turn", "spent": {"read": 1, "written": 5}}
    assert engine.submissions[0].params.temperature == 0.25
    cut = await send(ScriptedEngine(ids("hello")), length=2)
    assert (cut.json()["text"], cut.json()["why"]) == ("he", "max_length")


async def test_a_dialect_has_its_own_events() -> None:
    stream = await send(ScriptedEngine(ids("hi")), streamed=True)
    assert stream.text == "event: text\ndata: h\n\nevent: text\ndata: i\n\nevent: stop\ndata: 2\n\n"


async def test_errors_have_the_shape_of_the_dialect_wherever_they_come_from() -> None:
    engine = ScriptedEngine(ids("k"))
    assert problem(await send(engine, heat=2)) == (400, "heat", "invalid_value")
    assert problem(await send(engine, text="a" * 100)) == (400, "text", "context_length_exceeded")
    assert problem(await send(engine, model="other")) == (404, "model", "model_not_found")
    assert problem(await send(engine, AccessRules(KeyRing("alice:key")))) == (401, None, "invalid_api_key")
    async with client_of(engine, AccessRules(KeyRing("alice:key requests_per_minute=1"))) as client:
        client.headers["Authorization"] = "Bearer key"
        answers = [await client.post(PATH, json={"text": "a"}) for _ in range(2)]
    assert problem(answers[1]) == (429, None, "rate_limit_exceeded")
    async with client_of(engine) as client:
        assert problem(await client.get(PATH)) == (405, None, "method_not_allowed")
        assert problem(await client.post(PATH, content=b"{")) == (400, None, "invalid_body")
        elsewhere = await client.post("/v1/completions", json={})
    assert elsewhere.json()["error"]["param"] == "prompt"


async def test_faults_are_named_as_the_dialect_names_fields() -> None:
    answer = await send(ScriptedEngine(), choices=129, length=1000)
    what = answer.json()["problem"]["what"]
    assert "choices = 129" in what
    assert "length is 1000" in what


async def test_an_error_in_the_middle_of_a_stream_is_an_event_of_the_dialect() -> None:
    engine = ScriptedEngine()
    async with client_of(engine) as client:
        answering = asyncio.create_task(client.post(PATH, json={"text": "a", "streamed": True}))
        await engine.until(lambda: bool(engine.submissions))
        engine.write("h")
        engine.die(EngineDied("it is gone"))
        events = (await answering).text.split("\n\n")
    assert events[0] == "event: text\ndata: h"
    assert events[1].startswith("event: problem\ndata: ")
    assert "it is gone" in events[1]
