"""Every error a client can see, in OpenAI's shape, and which exception becomes which."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.api.openai.schemas.base import MAX_FAULTS, cut, shortened
from app.api.record import current_record
from app.engine.health import Overloaded, Unavailable
from app.engine.stream import EngineDied, KillsEngine
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

MAX_MESSAGE_CHARACTERS = 2000
MAX_PARAM_CHARACTERS = 200
RESEND_SECONDS = 1
QUEUE_RETRY_SECONDS = 5


class ApiError(Exception):
    """An answer that is an error: an HTTP status and the four fields of OpenAI's error object.

    Whatever part of them is a client's own words, neither it nor the log gets them back at any length.
    """

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
        super().__init__(cut(message, MAX_MESSAGE_CHARACTERS))
        self.status = status
        self.type = type
        self.param = None if param is None else cut(param, MAX_PARAM_CHARACTERS)
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


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field, and what would work, as one or more sentences."""

    message: str
    param: str | None
    code: str = "invalid_value"


def invalid(message: str, param: str, code: str = "invalid_value") -> ApiError:
    """A 400 about one field."""
    return invalid_fields([Fault(message, param, code)])


def invalid_fields(faults: Seq[Fault]) -> ApiError:
    """A 400 about one or more fields: `param` and `code` are of the first, the message describes all."""
    first, *others = faults
    message = first.message
    if others:
        told = " ".join(f"({number}) {fault.message}" for number, fault in enumerate(faults[:MAX_FAULTS], start=1))
        count = f"{len(faults)}" if len(faults) <= MAX_FAULTS else f"More than {MAX_FAULTS}"
        message = f"{count} faults: {told}"
    return ApiError(400, message, param=first.param, code=first.code)


def refuse(faults: Iterable[Fault]) -> None:
    """Raise the ApiError that describes these, if there are any."""
    if found := list(faults):
        raise invalid_fields(found)


def as_api_error(error: Exception) -> ApiError:
    """The answer to an exception, whether it comes before the response or in the middle of a stream."""
    match error:
        case ApiError():
            return error
        case Overloaded():
            return _later(429, str(error), "rate_limit_error", "overloaded", error.retry_after)
        case Unavailable():
            return _later(503, str(error), "server_error", "unavailable", error.retry_after)
        case KillsEngine():
            return _once(500, str(error), error.finish_reason)
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
            return _once(504, message, reason)  # which would take as long again
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
        route = f"{shortened(request.method)} {shortened(request.url.path)}"
        answer = ApiError(404, f"There is no route {route}.", code="unknown_route")
    elif answer.status == 405:
        allowed = (answer.headers or {}).get("Allow", "another method")
        route = shortened(request.url.path)
        message = f"{shortened(request.method)} is not allowed on {route}; use {allowed}."
        answer = ApiError(405, message, code="method_not_allowed", headers=answer.headers)
    current_record().error = answer
    return answer.response()


def _later(status: int, message: str, type: str, code: str, retry_after: int) -> ApiError:
    return ApiError(status, message, type=type, code=code, headers={"Retry-After": str(retry_after)})


def _once(status: int, message: str, code: str) -> ApiError:
    """What would only happen again: OpenAI's clients repeat what is 5xx by themselves, unless they are told not to."""
    return ApiError(status, message, type="server_error", code=code, headers={"x-should-retry": "false"})


def _from_validation(failure: RequestValidationError) -> ApiError:
    """What pydantic complains about: what is wrong and what would work, with each field's path."""
    faults = list(map(_fault, failure.errors()))
    whole = [fault for fault in faults if fault.param is None]  # then no field can be told from another
    return invalid_fields(whole[:1] or faults)


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
