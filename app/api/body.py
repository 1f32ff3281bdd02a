"""Request bodies: of bounded size, and JSON to the letter of its standard, which Python's parser goes beyond."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException


class JsonRequest(Request):
    """Refuses NaN, infinities and lone surrogates where they stand, so that no field has to look out for them."""

    async def stream(self) -> AsyncGenerator[bytes]:
        size, limit = 0, self.app.state.service.limits.max_body_bytes
        async with aclosing(super().stream()) as parts:
            async for part in parts:
                size += len(part)
                if size > limit:
                    raise HTTPException(413, f"The body is larger than the {limit} bytes allowed.")
                yield part

    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from error


class JsonRoute(APIRoute):
    """A route that reads its body as a `JsonRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_json(request: Request) -> Response:
            return await answer(JsonRequest(request.scope, request.receive))

        return answer_json
