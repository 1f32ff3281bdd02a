"""uvicorn with an end in the right order: first the engine drains, and with it the streams; then the rest stops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn


class Server(uvicorn.Server):
    """On the first signal it takes no more connections and lets `drain` end what runs; a second one forces.

    uvicorn alone would wait for every stream before it tells the application, whose part it is to bound that wait.
    """

    def __init__(self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        draining = asyncio.ensure_future(self._drain())
        await super().shutdown(sockets)
        if self.force_exit:
            draining.cancel()
        await asyncio.gather(draining, return_exceptions=self.force_exit)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Any second signal forces, not only Ctrl+C. None is raised again at the end: to be told is no failure."""
        self.force_exit = self.should_exit
        self.should_exit = True
