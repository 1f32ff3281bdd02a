"""The HTTP application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from collections.abc import Sequence as Seq
from contextlib import asynccontextmanager
from functools import partial

from anyio.lowlevel import checkpoint
from fastapi import FastAPI

from app.api.error_handlers import answer_errors
from app.api.gate.access import AccessRules
from app.api.gate.authentication import Authentication
from app.api.gate.cors import allow_origins
from app.api.gate.hosts import HostCheck
from app.api.gate.rate_limits import Limiter
from app.api.gate.throttle import Throttle
from app.api.generation.dialect import endpoints_by_path
from app.api.openapi import document_answers
from app.api.routes import DEFAULT_DIALECT, ENDPOINTS, OTHER_ROUTERS
from app.api.service import Service
from app.api.telemetry.request_middleware import RequestMiddleware
from app.api.telemetry.tracing import Telemetry
from app.api.wire.event_loop_lag import watch_event_loop_lag


def create_app(
    service: Service,
    drain_seconds: float,
    access: AccessRules,
    telemetry: Telemetry | None = None,
    log_prompts: bool = False,
    cors_origins: Seq[str] = (),
    hosts: Seq[str] = (),
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """The application. Its lifespan starts the service and stops it, leaving `drain_seconds` for what still runs.

    Requests may only name one of `hosts`, unless it is empty. `clock` gives the seconds that limits per minute are
    measured in.
    """

    # Pages about the API would load scripts from elsewhere, and a redirect would trust the client's `Host`.
    app = FastAPI(
        title="Millrace",
        version=service.version,
        lifespan=partial(_lifespan, service, drain_seconds, telemetry),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.dialect = DEFAULT_DIALECT
    answer_errors(app)
    # What is added later runs earlier.
    app.add_middleware(Throttle, limiter=Limiter(access.keys.quota_of, clock, service.metrics.rate_limited))
    app.add_middleware(Authentication, access=access)
    if hosts:
        app.add_middleware(HostCheck, hosts=hosts)
    app.add_middleware(
        RequestMiddleware,
        metrics=service.metrics,
        on_error=service.collector.failed,
        telemetry=telemetry,
        log_prompts=log_prompts,
        endpoints=endpoints_by_path(ENDPOINTS),
        default_dialect=DEFAULT_DIALECT,
    )
    if cors_origins:
        allow_origins(app, cors_origins)  # outermost, so that a page can read the answers of all others
    for router in (*(endpoint.router for endpoint in ENDPOINTS), *OTHER_ROUTERS):
        app.include_router(router)
    document_answers(app)
    return app


@asynccontextmanager
async def _lifespan(
    service: Service, drain_seconds: float, telemetry: Telemetry | None, _: FastAPI
) -> AsyncIterator[None]:
    await service.start()
    await checkpoint()  # imports what anyio runs on while the engine starts, instead of in the first request
    watching = asyncio.create_task(watch_event_loop_lag(service.metrics.loop_was_late))
    try:
        yield
    finally:
        await service.stop(drain_seconds)
        watching.cancel()
        if telemetry is not None:
            await asyncio.to_thread(telemetry.close)
