"""Request bodies: of bounded size and duration, and strictly JSON, not what Python would accept as such."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.api.errors import CLIENT_LEFT
from app.api.excerpts import shortened
from app.api.request_limits import RequestLimits
from app.api.wire.body_values import too_many_before_parsing, too_many_values
from app.api.wire.request_model import RequestModel, refused_body

T = TypeVar("T")

MAX_BYTES_ON_LOOP = 1 << 15
"""A body up to this size is parsed and checked on the event loop: that takes a few milliseconds at most."""

_reader = ThreadPoolExecutor(1, "body")
"""Large bodies are read one after the other: every thread that computes makes the event loop wait for its turn."""

MIN_BYTES_PER_SECOND = 10_000
"""The more of a body has arrived, the longer it may have taken."""


class JsonRequest(Request):
    """Refuses NaN, infinities and lone surrogates where they stand, so that no field has to look out for them.

    `parsed` is what the body was parsed into, None until it has been.
    """

    def __init__(self, scope: Scope, receive: Receive, model: type[RequestModel]) -> None:
        super().__init__(scope, receive)
        self.model = model
        self.parsed: Any = None

    async def stream(self) -> AsyncGenerator[bytes]:
        limits: RequestLimits = self.app.state.service.limits
        self._check_head(limits.max_body_bytes)
        size, now = 0, asyncio.get_running_loop().time
        began = now()
        async with aclosing(super().stream()) as parts:
            while True:
                expected = min(now(), began + size / MIN_BYTES_PER_SECOND)
                part = await _next_part(parts, expected + limits.receive_seconds)
                if part is None:
                    return
                size += len(part)
                if size > limits.max_body_bytes:
                    raise _too_large(limits.max_body_bytes)
                yield part

    def _check_head(self, max_bytes: int) -> None:
        """Refuse what its head already rules out, before the client is asked to send the body."""
        if int(self.headers.get("content-length", 0)) > max_bytes:
            raise _too_large(max_bytes)
        encoding = self.headers.get("content-encoding", "")
        if encoding.strip().lower() not in ("", "identity"):
            message = f"A body with 'Content-Encoding: {shortened(encoding)}' is not read; send it as it is."
            raise HTTPException(415, message)

    async def json(self) -> Any:
        """The body as JSON or, of a large one, what the route's model makes of it in a thread, so that no stream waits.

        That is an instance of the model, or the error that the model raises again when it is given it.
        """
        body = await self.body()
        if len(body) <= MAX_BYTES_ON_LOOP:
            self.parsed = _parse(body)
            return self.parsed
        return await self.run(self._validate, body)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call what goes through the whole body: on the event loop, or in the thread for bodies if that is large."""
        if len(await self.body()) <= MAX_BYTES_ON_LOOP:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(_reader, function, *arguments)

    def _validate(self, body: bytes) -> RequestModel | ValidationError:
        try:
            if refused := too_many_before_parsing(body):
                raise refused_body(self.model, refused)
            parsed = _parse(body)
            if refused := too_many_values(parsed):
                raise refused_body(self.model, refused)
            self.parsed = parsed
            return self.model.model_validate(parsed)
        except ValidationError as error:
            return error


def _parse(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise json.JSONDecodeError(str(error), "", 0) from error


def _too_large(max_bytes: int) -> HTTPException:
    return HTTPException(413, f"The body is larger than the {max_bytes} bytes allowed.")


async def _next_part(parts: AsyncIterator[bytes], deadline: float) -> bytes | None:
    """None at the end. A client that is too slow gets an error; one that has left is not mistaken for a faulty one."""
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(parts, None)
    except TimeoutError:
        remedy = f"send at least {MIN_BYTES_PER_SECOND} bytes a second"
        raise HTTPException(408, f"The body did not come in time; {remedy}.", {"Connection": "close"}) from None
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
            reading = JsonRequest(request.scope, request.receive, model)
            try:
                return await answer(reading)
            except RequestValidationError as failure:
                raise await self.refusal(reading, failure) from failure

        return answer_json

    async def refusal(self, request: JsonRequest, failure: RequestValidationError) -> Exception:  # noqa: ARG002
        """The exception to raise where the body is not what the model takes."""
        return failure
