"""Server-sent events by sse-starlette, whose insides are known here only."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any

from sse_starlette import EventSourceResponse
from sse_starlette.sse import AppStatus

DONE = "data: [DONE]\n\n"
"""The last event of a stream, as OpenAI's clients know it."""

# A stream ends when the engine stops, once it has had its time to drain; never because of the signal itself.
AppStatus.enable_automatic_graceful_drain = False


class EventStream(EventSourceResponse):
    """Lines end as OpenAI's do. Whether the connection is kept open is left to the connection, which may be closing."""

    def __init__(self, content: AsyncIterable[bytes], **options: Any) -> None:
        super().__init__(content, sep="\n", **options)
        del self.headers["connection"]
