"""Server-sent events, as finished bytes: the JSON around a text is encoded once, not for each event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Callable
from contextvars import copy_context
from functools import partial
from typing import Any, Self

from sse_starlette import EventSourceResponse
from sse_starlette.sse import AppStatus
from starlette.types import Receive, Scope, Send

from app.api.errors import as_api_error
from app.api.generation.choices import Piece
from app.api.generation.generation import Generation, Usage
from app.api.generation.reply import Reply
from app.api.openai.schemas.sampling import StreamOptions
from app.api.record import current_record
from app.api.wire.connection import LEFT_AS
from app.api.wire.disconnect import unless_client_leaves
from app.api.wire.framing import OUTLET, Outlet
from app.api.wire.json_parts import encode
from app.messages import FinishReason

PING_SECONDS = 15
PING = b": ping\n\n"
DONE = "data: [DONE]\n\n"
ANY_TEXT = "\0"

log = logging.getLogger(__name__)

# A stream ends because the engine stops, after it had its time to drain; never because of the signal itself.
AppStatus.enable_automatic_graceful_drain = False


class EventWriter:
    """Pieces as events. The events of a choice differ in little more than their text, so one of them is cut at its text
    to serve as the form of the others. Not so where `usage` is given, which each of them tells as it is by then.
    """

    def __init__(self, reply: Reply, include_usage: bool, usage: Callable[[], Usage] | None = None) -> None:
        self._reply = reply
        self._usage = usage
        self._head = f"data: {encode(reply.envelope(reply.chunk_object))[:-1]},"
        self._end = '],"usage":null}\n\n' if include_usage else "]}\n\n"
        self._forms: dict[int, tuple[str, str]] = {}

    def write(self, piece: Piece) -> str:
        """The events that show a piece; none if there is nothing to show yet."""
        form = self._forms.get(piece.index)
        is_plain = piece.part is None and not piece.tokens and piece.finish_reason is None
        if form is not None and is_plain and piece.text:
            before, after = form
            return before + encode(piece.text) + after
        events = self._write_chunks(piece)
        if form is None and self._usage is None:
            # Only now: the first piece of a choice may open with a chunk of its own.
            before, _, after = self._write_chunks(Piece(piece.index, ANY_TEXT)).rpartition(encode(ANY_TEXT))
            self._forms[piece.index] = before, after
        return events

    def write_usage(self, usage: Usage) -> str:
        return f'{self._head}"choices":[{_telling(usage)}'

    def _write_chunks(self, piece: Piece) -> str:
        end = self._end if self._usage is None else _telling(self._usage())
        return "".join(f'{self._head}"choices":[{encode(chunk)}{end}' for chunk in self._reply.chunks(piece))


def _telling(usage: Usage) -> str:
    """The end of an event."""
    return f'],"usage":{encode(usage.as_json())}}}\n\n'


class Events:
    """The whole stream: what the choices give, usage if asked, or an error; and always `[DONE]`. Pings in between.

    Events that are there at the same time are given together, to be sent in one go. They are waited for, or taken by
    whoever knows that there are some. An error that comes before anything else is raised, for the response to be of its
    status, unless that `has_begun`.
    """

    def __init__(
        self, generation: Generation, reply: Reply, tells: StreamOptions, has_begun: Callable[[], bool]
    ) -> None:
        self._generation = generation
        self._reply = reply
        self._tells_usage = tells.include_usage
        self._has_begun = has_begun
        self._has_ended = False
        self._owes_ping = False
        self._pinging: asyncio.TimerHandle | None = None
        running = generation.usage if tells.continuous_usage_stats else None
        self._writer = EventWriter(reply, tells.include_usage, running)

    def __aiter__(self) -> Self:
        self._ping_later()
        return self

    async def __anext__(self) -> bytes:
        while not self._has_ended:
            await self._generation.news.wait()
            if events := self.take():
                return events
            if self._owes_ping:
                self._owes_ping = False
                return PING
        raise StopAsyncIteration

    def close(self) -> None:
        """Nobody asks for events any more."""
        if self._pinging is not None:
            self._pinging.cancel()

    def _ping_later(self) -> None:
        """By a timer: a task for it would cost each request more."""
        self._pinging = asyncio.get_running_loop().call_later(PING_SECONDS, self._ping)

    def _ping(self) -> None:
        self._owes_ping = True
        self._generation.news.set()
        self._ping_later()

    def take(self) -> bytes:
        """What has come since the last time; empty if there is nothing to show of it, or nothing more. Whoever waits is
        told of the end.
        """
        if self._has_ended:
            return b""
        written = ""
        try:
            for piece in self._generation.pieces():
                for part in self._reply.read(piece):
                    written += self._writer.write(part)
            if not self._generation.is_finished:
                return written.encode()
            if self._tells_usage:
                written += self._writer.write_usage(self._generation.usage())
        except Exception as error:  # whatever it was, the client is owed an event that says so, and the end
            self._generation.close()
            if not written and not self._has_begun():
                raise
            answer = current_record().error = as_api_error(error)
            if answer.status == 500:
                log.error("A stream broke off", exc_info=error)
            written += f"data: {answer.body()}\n\n"
        self._has_ended = True
        self._generation.news.set()
        return (written + DONE).encode()


class EventStream(EventSourceResponse):
    """Lines end as OpenAI's do. Whether the connection is kept is for the connection to say, which may be leaving."""

    def __init__(self, content: AsyncIterable[bytes], **options: Any) -> None:
        super().__init__(content, sep="\n", **options)
        del self.headers["connection"]


class GenerationEvents(EventStream):
    """An event stream that closes its generation however it ends, even if it never sent its first event.

    The response begins with the first event or the first ping, so that what fails at once is an error by its status.
    What has not ended by then was cut off by a client that left. Two tasks suffice for that; sse-starlette's group of
    three was the largest piece of what a request costs.
    `background=` would miss a response that raises or is cancelled.
    """

    def __init__(self, generation: Generation, reply: Reply, tells: StreamOptions) -> None:
        self._has_begun = False
        self._is_sending = False
        self._generation = generation
        self._events = Events(generation, reply, tells, lambda: self._has_begun)
        super().__init__(self._events)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state", {})
        try:
            await unless_client_leaves(receive, self._stream(send, state.get(OUTLET)))
        except asyncio.CancelledError:
            self._generation.close()  # it is the server that does not wait any longer
            raise
        finally:
            self._events.close()
            self._generation.close(state.get(LEFT_AS, FinishReason.CLIENT_GONE))

    async def _stream(self, send: Send, outlet: Outlet | None) -> None:
        """Send the events past the middleware, which has to do with the beginning only, and without what sse-starlette
        does for each: there is nothing to convert, no timeout to keep, and no iterator to close. Once it has begun,
        what comes is written where it is told of, as long as the client keeps up; this waits for the rest.
        """
        send_event = current_record().send
        async for event in self._events:
            self._is_sending = True
            if not self._has_begun:
                self._has_begun = True
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                if outlet is not None:  # the server is ours
                    # An error is told in the context that knows of the request.
                    self._generation.call(partial(copy_context().run, self._pass_on, outlet))
            await send_event({"type": "http.response.body", "body": event, "more_body": True})
            self._is_sending = False
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _pass_on(self, outlet: Outlet) -> None:
        """Write what has come, or let it be sent where something else has to be sent first."""
        news = self._generation.news
        if news.is_set() or self._is_sending or not outlet.is_open:
            news.set()
        elif event := self._events.take():
            outlet.write(event)
