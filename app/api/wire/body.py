"""Request bodies: of bounded size and slowness, and JSON to the letter of its standard, not as Python reads it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.api.errors import CLIENT_LEFT
from app.api.openai.schemas.base import RequestModel, refused_body, shortened
from app.api.openai.schemas.values import too_many_before_parsing, too_many_values
from app.api.request_limits import Limits

MAX_BYTES_ON_LOOP = 1 << 15
"""A body of no more than this is read and checked on the event loop: it takes some milliseconds at most."""

_reader = ThreadPoolExecutor(1, "body")
"""Large bodies are read one after the other: each thread that computes makes the event loop wait for its turn."""

SLOWEST_BYTES_PER_SECOND = 10_000
"""The more of a body has come, the longer it may have taken."""


class JsonRequest(Request):
    """Refuses NaN, infinities and lone surrogates where they stand, so that no field has to look out for them."""

    def __init__(self, scope: Scope, receive: Receive, model: type[RequestModel]) -> None:
        super().__init__(scope, receive)
        self._model = model

    async def stream(self) -> AsyncGenerator[bytes]:
        limits: Limits = self.app.state.service.limits
        self._check_head(limits.max_body_bytes)
        size, now = 0, asyncio.get_running_loop().time
        begun = now()
        async with aclosing(super().stream()) as parts:
            while True:
                expected = min(now(), begun + size / SLOWEST_BYTES_PER_SECOND)
                part = await _next_part(parts, expected + limits.receive_seconds)
                if part is None:
                    return
                size += len(part)
                if size > limits.max_body_bytes:
                    raise _too_large(limits.max_body_bytes)
                yield part

    def _check_head(self, max_bytes: int) -> None:
        """Refuse by its head what would be refused later, before the client is asked to send it."""
        if int(self.headers.get("content-length", 0)) > max_bytes:
            raise _too_large(max_bytes)
        encoding = self.headers.get("content-encoding", "")
        if encoding.strip().lower() not in ("", "identity"):
            message = f"A body with 'Content-Encoding: {shortened(encoding)}' is not read; send it as it is."
            raise HTTPException(415, message)

    async def json(self) -> Any:
        """The body as JSON; of a large one what the route makes of it, found in a thread, so that no stream waits.

        That is an instance of the route's model, or the error that the model raises again when it is given it.
        """
        body = await self.body()
        if len(body) <= MAX_BYTES_ON_LOOP:
            return _parse(body)
        return await asyncio.get_running_loop().run_in_executor(_reader, _validate, body, self._model)


def _parse(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise json.JSONDecodeError(str(error), "", 0) from error


def _validate(body: bytes, model: type[RequestModel]) -> RequestModel | ValidationError:
    """What a body says, if it has no more values than a body may have."""
    try:
        if refused := too_many_before_parsing(body):
            raise refused_body(model, refused)
        parsed = _parse(body)
        if refused := too_many_values(parsed):
            raise refused_body(model, refused)
        return model.model_validate(parsed)
    except ValidationError as error:
        return error


def _too_large(max_bytes: int) -> HTTPException:
    return HTTPException(413, f"The body is larger than the {max_bytes} bytes allowed.")


async def _next_part(parts: AsyncIterator[bytes], latest: float) -> bytes | None:
    """None at the end. A client that is late is told so, and one that has left is not taken for a faulty one."""
    try:
        async with asyncio.timeout_at(latest):
            return await anext(parts, None)
    except TimeoutError:
        slowest = f"send at least {SLOWEST_BYTES_PER_SECOND} bytes a second"
        raise HTTPException(408, f"The body did not come in time; {slowest}.", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(CLIENT_LEFT, "The client left before its request had come whole.") from None


class JsonRoute(APIRoute):
    """A route that reads its body, a `RequestModel`, as a `JsonRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        assert self.body_field is not None, "such a route has a body"
        model = self.body_field.field_info.annotation
        assert isinstance(model, type)
        assert issubclass(model, RequestModel)

        async def answer_json(request: Request) -> Response:
            return await answer(JsonRequest(request.scope, request.receive, model))

        return answer_json
