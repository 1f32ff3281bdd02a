"""uvicorn with an orderly shutdown: first the engine drains, and the streams with it; then everything else stops."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from threading import Timer
from types import FrameType
from typing import TYPE_CHECKING, cast

import uvicorn
from fastapi import FastAPI

from app.api.errors import ApiError
from app.api.wire.certificate import Certificate
from app.api.wire.connection import Connection
from app.api.wire.open_files import MAX_OPEN_FILES, room_of
from app.api.wire.sockets import url_of
from app.logs import LOG_ONLY

if TYPE_CHECKING:
    from app.api.generation.dialect import Dialect
    from app.api.service import Service

log = logging.getLogger("millrace.server")

HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
"""Added to every response, whatever wrote it: browsers must not guess types, frame our pages or pass on where a user
came from."""

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than proxies keep theirs, or they may send a request into one that is
closing."""

SHUTDOWN_MARGIN = 5
"""Seconds that streams have to send their last events after the engine has drained."""


def server_config(
    app: FastAPI,
    host: str,
    port: int,
    stall_seconds: float,
    certificate: Certificate | None = None,
    num_files: int = MAX_OPEN_FILES,
) -> uvicorn.Config:
    """The configuration of uvicorn for `app`: with our own connections, and no log but ours.

    `num_files` is how many files this process may have open.
    """
    service: Service = app.state.service
    dialect: Dialect = app.state.dialect
    room = room_of(num_files)

    def on_refused(error: ApiError) -> None:
        service.metrics.request_rejected(error.cause)
        service.collector.failed(error.cause)

    connection = partial(
        Connection,
        receive_seconds=service.limits.receive_seconds,
        stall_seconds=stall_seconds,
        max_connections=room.connections,
        on_refused=on_refused,
        error_body=dialect.error_body,
    )
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        ssl_context_factory=(lambda *_: certificate.context) if certificate is not None else None,
        headers=list(HEADERS.items()),
        server_header=False,
        http=cast("type[Connection]", connection),
        ws="none",
        log_config=None,
        access_log=False,
        backlog=room.backlog,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_MARGIN,
    )


FORCED_SECONDS = 3
"""How long streams have for their last events, and the engine to end, after a second signal."""

FORCED_EXIT_CODE = 130
"""What a shell reports for a program that Ctrl-C ended."""


class Server(uvicorn.Server):
    """On the first signal, `drain` lets what runs end while the port still answers; then the port closes. A second
    signal cancels `drain`, which then ends at once whatever still runs.

    A load balancer learns from `/ready` that this server is leaving, and a request that arrives nevertheless gets an
    error that says so. uvicorn alone would refuse connections at once, and wait for every stream without a bound.
    SIGHUP calls `reload`; without one it ends the process, as it does when a terminal is closed.
    `on_listening` is called once requests are read; `say` is for whoever started the server.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Callable[[], Awaitable[None]],
        reload: Callable[[], None] | None = None,
        on_listening: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = log.info,
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._reload = reload
        self._on_listening = on_listening
        self._say = say
        self._draining: asyncio.Future[None] | None = None
        self._deadline = Timer(FORCED_SECONDS, os._exit, [FORCED_EXIT_CODE])
        self._deadline.daemon = True

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        if self._reload is not None:
            self._loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            await super().serve(sockets)
        finally:
            self._deadline.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            url = url_of(each, is_secure=self.config.is_ssl)
            log.info("Millrace is running on %s, and loads the model", url, extra=LOG_ONLY)
        self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        draining = self._begin_to_drain()
        await asyncio.wait([draining])
        await super().shutdown(sockets)
        if not draining.cancelled():
            draining.result()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Any second signal forces the end, not only Ctrl-C. None is raised again: being stopped is no failure."""
        # uvicorn checks `should_exit` ten times a second; `/ready` must change now.
        self._loop.call_soon_threadsafe(self._force if self.should_exit else self._begin_to_drain)
        self.should_exit = True

    def _force(self) -> None:
        """Wait for nothing more. Whatever has not ended within `FORCED_SECONDS` ends with the process."""
        if self._deadline.is_alive():
            return
        self._say("Stopping now")
        self._deadline.start()
        self.config.timeout_graceful_shutdown = 1
        self._begin_to_drain().cancel()

    def _begin_to_drain(self) -> asyncio.Future[None]:
        if self._draining is None:
            # So that clients on kept connections open their next one elsewhere. The second list serves all connections;
            # uvicorn builds it from the first again once a second.
            for headers in (self.config.encoded_headers, self.server_state.default_headers):
                headers.append((b"connection", b"close"))
            self._draining = asyncio.ensure_future(self._drain())
        return self._draining
