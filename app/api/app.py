"""The HTTP application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import chat, completions, operations, statistics, web
from app.api.access import Access, Guard
from app.api.errors import answer_errors
from app.api.service import Service
from app.metrics import Metrics


def create_app(service: Service, drain_seconds: float, access: Access) -> FastAPI:
    """The application. Its lifespan starts the service and stops it, with `drain_seconds` for what still runs."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop(drain_seconds)

    app = FastAPI(title="Millrace", version=service.version, lifespan=lifespan)
    app.state.service = service
    answer_errors(app)
    app.add_middleware(Guard, access=access)
    app.add_middleware(CountResponses, metrics=service.metrics)
    for module in (completions, chat, operations, statistics, web):
        app.include_router(module.router)
    return app


class CountResponses:
    """Counts responses by route template and status, as they begin. Plain ASGI: it costs a stream nothing."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        status = 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._count(scope, status)
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:
            # Who answers this with a 500 stands outside, where no middleware sees it.
            if not status:
                self._count(scope, 500)
            raise

    def _count(self, scope: Scope, status: int) -> None:
        self._metrics.http_response(getattr(scope.get("route"), "path", "unknown"), status)
