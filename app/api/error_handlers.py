"""How exceptions become answers: every one that the application or the framework raises is an error of the dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from app.api.errors import CODES, ApiError, Fault, as_api_error, invalid
from app.api.excerpts import shortened
from app.api.record import record_of
from app.engine.health import Overloaded, Unavailable
from app.engine.stream import EngineDied


def answer_errors(app: FastAPI) -> None:
    """Make `app` answer every known exception, its own and the framework's, with an error."""
    own: tuple[type[Exception], ...] = (ApiError, Overloaded, Unavailable, EngineDied)
    for kind in (*own, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer)


async def send_error(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with an error, outside of the routes."""
    await error_response(error, scope)(scope, receive, send)


def error_response(error: ApiError, scope: Scope) -> Response:
    """The response that an error is, in the shape of the route's dialect. The request's record notes the error."""
    record = record_of(scope)
    record.error = error
    dialect = record.dialect
    headers = error.headers | dialect.error_headers(error)
    return Response(dialect.error_body(error), error.status, headers, media_type="application/json")


def validation_faults(failure: RequestValidationError) -> list[Fault]:
    """What pydantic found: what is wrong with each field and what would work.

    Where the whole body is at fault there is just that one: no field can be told from another then.
    """
    faults = list(map(_fault, failure.errors()))
    whole = [fault for fault in faults if fault.field is None]
    return whole[:1] or faults


async def _answer(request: Request, error: Exception) -> Response:
    return error_response(_as_answer(request, error), request.scope)


def _as_answer(request: Request, error: Exception) -> ApiError:
    match error:
        case RequestValidationError():
            return invalid(validation_faults(error))
        case HTTPException():
            return _from_framework(request, error)
        case _:
            return as_api_error(error)


def _from_framework(request: Request, error: HTTPException) -> ApiError:
    method, path = shortened(request.method), shortened(request.url.path)
    code = CODES.get(error.status_code)
    match error.status_code:
        case 404 if code is None:
            return ApiError(404, f"There is no route {method} {path}.", code="unknown_route")
        case 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            message = f"{method} is not allowed on {path}; use {allowed}."
            return ApiError(405, message, code="method_not_allowed", headers=error.headers)
        case status:
            return ApiError(status, str(error.detail), code=code, headers=error.headers)


def _fault(error: Mapping[str, Any]) -> Fault:
    context = error.get("ctx", {})
    kind = str(error["type"])
    if kind == "json_invalid":
        return Fault(f"The body is not valid JSON: {context['error']}.", None, "invalid_json")
    path = _path((*error["loc"][1:], *context.get("path", ())))
    if "path" in context:
        return Fault(str(error["msg"]), path or None, kind)
    if not path:
        message = "The body must be a JSON object, sent with 'Content-Type: application/json'."
        return Fault(message, None, "invalid_body")
    if kind == "missing":
        return Fault(f"'{path}' is required.", path, "missing_required_parameter")
    return Fault(f"'{path}': {error['msg']}{_shown(error.get('input'))}.", path)


def _path(parts: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{shortened(part)}" for part in parts)
    return path.removeprefix(".")


def _shown(value: Any) -> str:
    if not isinstance(value, str | int | float):
        return ""
    return f", got {shortened(repr(value))}"
