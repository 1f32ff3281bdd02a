"""Request bodies: of bounded size and slowness, and JSON to the letter of its standard, not as Python reads it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.api.errors import CLIENT_LEFT
from app.api.limits import Limits

SLOWEST_BYTES_PER_SECOND = 10_000
"""The more of a body has come, the longer it may have taken."""


class JsonRequest(Request):
    """Refuses NaN, infinities and lone surrogates where they stand, so that no field has to look out for them."""

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
        if (encoding := self.headers.get("content-encoding", "identity")) != "identity":
            raise HTTPException(415, f"A body with 'Content-Encoding: {encoding}' is not read; send it as it is.")

    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from error


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
    """A route that reads its body as a `JsonRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_json(request: Request) -> Response:
            return await answer(JsonRequest(request.scope, request.receive))

        return answer_json
