"""`GET /v1/stats/stream`: the live data of the dashboard."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import APIRouter, Response
from starlette.types import Receive, Scope, Send

from app.api.openapi import content, errors
from app.api.service import ServiceDependency
from app.api.wire.event_stream import DONE, EventStream
from app.statistics.broadcast import Subscription

router = APIRouter()


@router.get("/v1/stats/stream", response_class=Response, responses=content(200, "text/event-stream") | errors(401, 429))
async def stream_statistics(service: ServiceDependency) -> Response:
    """Server-sent events: first a snapshot of all that is remembered, then what is new, twice a second."""
    return StatisticsEvents(service.broadcast.subscribe())


class StatisticsEvents(EventStream):
    """Closes its subscription however it ends. It needs no pings: there is always something new."""

    def __init__(self, subscription: Subscription) -> None:
        super().__init__(_events(subscription), ping=0)
        self._subscription = subscription

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._subscription.close()


async def _events(subscription: Subscription) -> AsyncGenerator[bytes]:
    async for event in subscription.events():
        yield event
    yield DONE.encode()
