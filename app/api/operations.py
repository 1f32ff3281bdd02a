"""Routes for operators: models, health, readiness, metrics and the version."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from app.api.openapi import KEYED, content, errors
from app.api.service import RETRY_SECONDS, Service, ServiceDependency

router = APIRouter()

STARTED = int(time.time())

OPEN = errors() | content(503, "application/json", description="Not so: the answer says what is the matter.")
METRICS = content(200, "text/plain", "application/openmetrics-text") | KEYED


@router.get("/v1/models", responses=KEYED)
async def list_models(service: ServiceDependency) -> JSONResponse:
    """The one model, whether or not it is loaded yet."""
    return JSONResponse({"object": "list", "data": [_model(service)]})


@router.get("/v1/models/{model:path}", responses=errors(401, 404))
async def get_model(model: str, service: ServiceDependency) -> JSONResponse:
    """The model, if that is its name."""
    if model != service.model_name:
        raise service.unknown_model(model)
    return JSONResponse(_model(service))


@router.head("/health", include_in_schema=False)
@router.get("/health", responses=OPEN)
async def health(service: ServiceDependency) -> JSONResponse:
    """200 only when a generation can begin and steps are being taken; otherwise 503 with what is the matter."""
    now, engine = service.availability(), service.engine.health
    healthy = now.can_serve and not engine.step_overdue
    age = engine.last_step_age
    state: dict[str, Any] = {
        "state": now.state,
        "reason": "A step is overdue." if now.can_serve and engine.step_overdue else now.reason,
        "phase": now.phase,
        "progress": round(now.progress, 3),
        "running": engine.num_running,
        "waiting": engine.num_waiting,
        "last_step_age_ms": None if age is None else round(age * 1000, 1),
        "restarts": engine.num_restarts,
    }
    return _unless_healthy(state, healthy)


@router.head("/ready", include_in_schema=False)
@router.get("/ready", responses=OPEN)
async def ready(service: ServiceDependency) -> JSONResponse:
    """200 when new requests are taken."""
    now = service.availability()
    return _unless_healthy({"ready": now.can_serve, "state": now.state, "reason": now.reason}, now.can_serve)


@router.get("/metrics", response_class=Response, responses=METRICS)
async def metrics(request: Request, service: ServiceDependency) -> Response:
    """All metrics, for Prometheus."""
    service.metrics.health_seen(service.availability().can_serve, service.engine.health.last_step_age)
    content, content_type = service.metrics.render(request.headers.get("accept", ""))
    return Response(content, headers={"Content-Type": content_type})


@router.get("/version", responses=KEYED)
async def version(service: ServiceDependency) -> JSONResponse:
    """The version of this server."""
    return JSONResponse({"version": service.version})


def _model(service: Service) -> dict[str, Any]:
    ready = service.engine.ready
    return {
        "id": service.model_name,
        "object": "model",
        "created": STARTED,
        "owned_by": "millrace",
        "max_model_len": None if ready is None else ready.max_model_len,
    }


def _unless_healthy(state: dict[str, Any], healthy: bool) -> JSONResponse:
    if healthy:
        return JSONResponse(state)
    return JSONResponse(state, 503, {"Retry-After": str(RETRY_SECONDS)})
