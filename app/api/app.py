"""The HTTP application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from collections.abc import Sequence as Seq
from contextlib import asynccontextmanager

from anyio.lowlevel import checkpoint
from fastapi import FastAPI

from app.api import operations, statistics, web
from app.api.errors import answer_errors
from app.api.gate.authentication import Access, Guard
from app.api.gate.cors import allow_origins
from app.api.gate.hosts import HostCheck
from app.api.gate.rate_limits import Limiter
from app.api.gate.throttle import Throttle
from app.api.openai import chat, completions
from app.api.openapi import document_answers
from app.api.service import Service
from app.api.telemetry.request_middleware import Recording
from app.api.telemetry.tracing import Telemetry
from app.api.wire.event_loop_lag import watch_loop

GENERATING_PATHS = frozenset(route.path for module in (completions, chat) for route in module.router.routes)


def create_app(
    service: Service,
    drain_seconds: float,
    access: Access,
    telemetry: Telemetry | None = None,
    log_prompts: bool = False,
    cors_origins: Seq[str] = (),
    hosts: Seq[str] = (),
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """The application. Its lifespan starts the service and stops it, with `drain_seconds` for what still runs.

    Requests may only name one of `hosts`, unless there are none. `clock` gives the seconds by which limits per minute
    go.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        await checkpoint()  # imports what anyio runs on, while the engine starts instead of in the first request
        watching = asyncio.create_task(watch_loop(service.metrics.loop_was_late))
        try:
            yield
        finally:
            await service.stop(drain_seconds)
            watching.cancel()
            if telemetry is not None:
                await asyncio.to_thread(telemetry.close)

    # Pages about the API would load scripts from elsewhere, and a redirect would trust the client's `Host`.
    app = FastAPI(
        title="Millrace",
        version=service.version,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    answer_errors(app)
    limiter = Limiter(access.keys.quota_of, clock, service.metrics.rate_limited)
    app.add_middleware(Throttle, limiter=limiter)
    app.add_middleware(Guard, access=access)
    if hosts:
        app.add_middleware(HostCheck, hosts=hosts)
    app.add_middleware(
        Recording,
        metrics=service.metrics,
        failed=service.collector.failed,
        telemetry=telemetry,
        log_prompts=log_prompts,
        generating_paths=GENERATING_PATHS,
    )
    if cors_origins:
        allow_origins(app, cors_origins)  # outermost, so that a page can read what any other of these has to say
    for module in (completions, chat, operations, statistics, web):
        app.include_router(module.router)
    document_answers(app)
    return app
