"""A generation as server-sent events: bytes that the dialect has finished, sent as they become available."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Self

from starlette.types import Receive, Scope, Send

from app.api.errors import as_api_error
from app.api.generation.dialect import Answer
from app.api.generation.generation import Generation
from app.api.record import RequestRecord
from app.api.wire.disconnect import unless_client_disconnects
from app.api.wire.event_stream import EventStream
from app.api.wire.framing import Outlet

PING_SECONDS = 15

log = logging.getLogger(__name__)


class Events:
    """The whole stream: the events of the answer, and its end or an error, with pings in between.

    Events that are available at the same time come together, to be sent in one go. They can be awaited, or taken by a
    caller that knows that there are some. An error that comes before anything else is raised, so that the response can
    have its status, unless the response `has_begun`.
    """

    def __init__(
        self, generation: Generation, answer: Answer, record: RequestRecord, has_begun: Callable[[], bool]
    ) -> None:
        self._generation = generation
        self._answer = answer
        self._record = record
        self._has_begun = has_begun
        self._has_ended = False
        self._owes_ping = False
        self._ping_timer: asyncio.TimerHandle | None = None

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
                return self._record.dialect.ping.encode()
        raise StopAsyncIteration

    def stop_pings(self) -> None:
        """To be called when nobody waits for events any more."""
        if self._ping_timer is not None:
            self._ping_timer.cancel()

    def _ping_later(self) -> None:
        """Start the timer of the next ping. A task instead would cost each request more."""
        self._ping_timer = asyncio.get_running_loop().call_later(PING_SECONDS, self._ping)

    def _ping(self) -> None:
        self._owes_ping = True
        self._generation.news.set()
        self._ping_later()

    def take(self) -> bytes:
        """The events since the last call; empty if there is nothing to show or nothing more to come. At the end,
        a waiter for events is woken.
        """
        if self._has_ended:
            return b""
        written = ""
        try:
            for piece in self._generation.pieces():
                written += self._answer.write(piece)
            if not self._generation.is_finished:
                return written.encode()
            written += self._answer.end(self._generation.usage())
        except Exception as error:  # whatever it was, the client is owed an event that says so, and the end
            self._generation.close()
            if not written and not self._has_begun():
                raise
            failure = self._record.error = as_api_error(error)
            if failure.status == 500:
                log.error("A stream broke off", exc_info=error)
            written += self._record.dialect.error_events(failure)
        self._has_ended = True
        self._generation.news.set()
        return written.encode()


class GenerationEvents(EventStream):
    """An event stream that closes its generation however it ends, even if it never sent an event.

    The response begins with the first event or ping, so that what fails at once is an error with a status of its own.
    What has not ended when the response does was cut off by a client that left. Two tasks suffice for that;
    sse-starlette's group of three was the largest part of what a request costs.
    `background=` would miss a response that raises or is cancelled.
    """

    def __init__(self, generation: Generation, answer: Answer, record: RequestRecord) -> None:
        self._has_begun = False
        self._is_sending = False
        self._generation = generation
        self._record = record
        self._events = Events(generation, answer, record, lambda: self._has_begun)
        super().__init__(self._events)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        try:
            await unless_client_disconnects(receive, self._stream(send, self._record.client.outlet))
        except asyncio.CancelledError:
            self._generation.close()  # it is the server that stops waiting
            raise
        finally:
            self._events.stop_pings()
            self._generation.close(self._record.client.left_as)

    async def _stream(self, send: Send, outlet: Outlet | None) -> None:
        """Send the events past the middleware, which only cares about the beginning, and without what sse-starlette
        does for each event: there is nothing to convert, no timeout to keep and no iterator to close. Once the response
        has begun, events are written where they are produced for as long as the client keeps up; this waits for the
        rest.
        """
        send_event = self._record.send
        async for event in self._events:
            self._is_sending = True
            if not self._has_begun:
                self._has_begun = True
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                if outlet is not None:  # the connection is one of ours
                    # In this request's context, which the log reads.
                    self._generation.call(partial(copy_context().run, self._pass_on, outlet))
            await send_event({"type": "http.response.body", "body": event, "more_body": True})
            self._is_sending = False
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _pass_on(self, outlet: Outlet) -> None:
        """Write what has come, or leave it to `_stream` where something else has to be sent first."""
        news = self._generation.news
        if news.is_set() or self._is_sending or not outlet.is_open:
            news.set()
        elif event := self._events.take():
            outlet.write(event)
