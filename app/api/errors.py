"""Every error a client can see, in OpenAI's shape, and which exception becomes which."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.api.record import current_record
from app.api.schemas.base import shortened
from app.engine.health import Overloaded, Unavailable
from app.engine.stream import EngineDied
from app.messages import FinishReason
from app.text.tokenizer import ChatTemplateError, NoChatTemplate, TextTooLong

CLIENT_LEFT = 499
CODES = {
    408: "receive_timeout",
    413: "body_too_large",
    415: "unsupported_encoding",
    CLIENT_LEFT: "client_gone",
}
"""Of what is raised where only the framework's own exceptions pass."""

RESEND_SECONDS = 1
QUEUE_RETRY_SECONDS = 5


class ApiError(Exception):
    """An answer that is an error: an HTTP status and the four fields of OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.param = param
        self.code = code
        self.headers = headers

    @property
    def cause(self) -> str:
        """What errors are counted by."""
        return self.code or str(self.status)

    def body(self) -> str:
        """The error as JSON."""
        error = {"message": str(self), "type": self.type, "param": self.param, "code": self.code}
        return json.dumps({"error": error})

    def response(self) -> Response:
        return Response(self.body(), self.status, self.headers, media_type="application/json")


def invalid(message: str, param: str, code: str = "invalid_value") -> ApiError:
    """A 400 about one field."""
    return ApiError(400, message, param=param, code=code)


def as_api_error(error: Exception) -> ApiError:
    """The answer to an exception, whether it comes before the response or in the middle of a stream."""
    match error:
        case ApiError():
            return error
        case Overloaded():
            return _later(429, str(error), "rate_limit_error", "overloaded", error.retry_after)
        case Unavailable():
            return _later(503, str(error), "server_error", "unavailable", error.retry_after)
        case EngineDied():
            return _later(503, str(error), "server_error", "engine_died", RESEND_SECONDS)
        case NoChatTemplate():
            return invalid(str(error), "messages", "no_chat_template")
        case ChatTemplateError():
            return invalid(str(error), "messages", "chat_template_error")
        case TextTooLong():
            return ApiError(400, str(error), code="context_length_exceeded")
        case RequestValidationError():
            return _from_validation(error)
        case HTTPException():
            code = CODES.get(error.status_code)
            return ApiError(error.status_code, str(error.detail), code=code, headers=error.headers)
        case _:
            return ApiError(500, "The server met an unexpected error.", type="server_error", code="internal_error")


def ended_with(reason: FinishReason | None) -> ApiError | None:
    """The error that the end of a sequence is to its reader; None if it is none."""
    match reason:
        case FinishReason.ABORT:
            return _later(503, "The server stopped before the end.", "server_error", "aborted", RESEND_SECONDS)
        case FinishReason.ERROR:
            return ApiError(500, "The engine could not finish this sequence.", type="server_error", code="engine_error")
        case FinishReason.QUEUE_TIMEOUT:
            message = "The server is busy: the request waited as long as it may, and was not scheduled."
            return _later(503, message, "server_error", reason, QUEUE_RETRY_SECONDS)
        case FinishReason.REQUEST_TIMEOUT:
            message = "The answer took longer than this server gives a request."
            # OpenAI's clients repeat what is 5xx by themselves, and this would take as long again.
            return ApiError(504, message, type="server_error", code=reason, headers={"x-should-retry": "false"})
        case _:
            return None


def answer_errors(app: FastAPI) -> None:
    """Make `app` answer every exception that it knows, its own and the framework's, with an error object."""
    refusals = (ApiError, Overloaded, Unavailable, EngineDied, NoChatTemplate, ChatTemplateError, TextTooLong)
    known: tuple[type[Exception], ...] = (*refusals, RequestValidationError, HTTPException)
    for kind in known:
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    answer = as_api_error(error)
    if answer.status == 404 and answer.code is None:
        answer = ApiError(404, f"There is no route {request.method} {request.url.path}.", code="unknown_route")
    elif answer.status == 405:
        allowed = (answer.headers or {}).get("Allow", "another method")
        message = f"{request.method} is not allowed on {request.url.path}; use {allowed}."
        answer = ApiError(405, message, code="method_not_allowed", headers=answer.headers)
    current_record().error = answer
    return answer.response()


def _later(status: int, message: str, type: str, code: str, retry_after: int) -> ApiError:
    return ApiError(status, message, type=type, code=code, headers={"Retry-After": str(retry_after)})


def _from_validation(failure: RequestValidationError) -> ApiError:
    """The first complaint of pydantic: what is wrong and what would work, with the field's path."""
    error = failure.errors()[0]
    context = error.get("ctx", {})
    kind = str(error["type"])
    if kind == "json_invalid":
        return ApiError(400, f"The body is not valid JSON: {context['error']}.", code="invalid_json")
    path = _path((*error["loc"][1:], *context.get("path", ())))
    if not path:
        message = "The body must be a JSON object, sent with 'Content-Type: application/json'."
        return ApiError(400, message, code="invalid_body")
    if kind == "missing":
        return invalid(f"'{path}' is required.", path, "missing_required_parameter")
    if "path" in context:
        return invalid(str(error["msg"]), path, kind)
    return invalid(f"'{path}': {error['msg']}{_shown(error.get('input'))}.", path)


def _path(parts: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{shortened(part)}" for part in parts)
    return path.removeprefix(".")


def _shown(value: Any) -> str:
    if not isinstance(value, str | int | float):
        return ""
    return f", got {shortened(repr(value))}"
