"""Server-sent events, as finished bytes: one call of the JSON encoder for each piece of text."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus
from starlette.types import Receive, Scope, Send

from app.api.errors import as_api_error
from app.api.generation import Generation
from app.api.reply import Reply

PING_SECONDS = 15
DONE = "data: [DONE]\n\n"

log = logging.getLogger(__name__)

encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

# A stream ends because the engine stops, after it had its time to drain; never because of the signal itself.
AppStatus.enable_automatic_graceful_drain = False


async def events(generation: Generation, reply: Reply, include_usage: bool) -> AsyncGenerator[bytes]:
    """The whole stream: what the choices give, usage if asked, or an error; and always `[DONE]`."""
    head = f"data: {encode(reply.envelope(reply.chunk_object))[:-1]},"
    tail = '],"usage":null}\n\n' if include_usage else "]}\n\n"
    try:
        async with aclosing(generation.pieces()) as pieces:
            async for piece in pieces:
                if chunks := reply.chunks(piece):
                    yield "".join(f'{head}"choices":[{encode(chunk)}{tail}' for chunk in chunks).encode()
        if include_usage:
            yield f'{head}"choices":[],"usage":{encode(generation.usage())}}}\n\n'.encode()
    except Exception as error:  # whatever it was, the client is owed an event that says so, and the end
        answer = as_api_error(error)
        if answer.status == 500:
            log.error("A stream broke off", exc_info=error)
        yield f"data: {answer.body()}\n\n".encode()
    yield DONE.encode()


class GenerationEvents(EventSourceResponse):
    """An event stream that closes its generation however it ends, even if it never sent its first event.

    `background=` would miss a response that raises or is cancelled, and the iterator's `finally` one that never ran.
    """

    def __init__(self, generation: Generation, reply: Reply, include_usage: bool) -> None:
        super().__init__(
            events(generation, reply, include_usage),
            sep="\n",
            ping=PING_SECONDS,
            ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
        )
        self._generation = generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._generation.close()
