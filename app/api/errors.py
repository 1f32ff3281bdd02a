"""The errors that clients see, in no API's shape yet, and which exception becomes which error."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from app.api.excerpts import cut
from app.engine.health import Overloaded, QueueShareUsed, Unavailable
from app.engine.stream import CutReason, EndReason, EngineDied, KillsEngine
from app.messages import FinishReason

CLIENT_LEFT = 499
"""The status recorded for a request whose client disconnected; nobody receives it."""

CODES = {
    408: "receive_timeout",
    413: "body_too_large",
    415: "unsupported_encoding",
    CLIENT_LEFT: "client_gone",
}
"""Codes of errors raised where only the framework's own exceptions, which carry no code, get through."""

MAX_FAULTS = 20
"""How many faults of one request are described; the message only says that there are more."""

MAX_MESSAGE_CHARACTERS = 2000
MAX_FIELD_CHARACTERS = 200
RESEND_SECONDS = 1
QUEUE_RETRY_SECONDS = 5


class ApiError(Exception):
    """An answer that is an error. The dialect of the route decides how it is written.

    `field` is the path of the request's field at fault, and `code` names the kind of error. `limit` names the rate
    limit that was reached, if one was. `retry_after` is in seconds. `is_permanent` says that sending the same request
    again cannot help, whatever the status suggests. `headers` are added to the response. `cause` is the label under
    which the error is logged and counted, where that is not its code.

    The message and the field may quote the client; both are cut so that neither the answer nor the log grows with what
    was sent.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        code: str | None = None,
        limit: str | None = None,
        retry_after: int | None = None,
        is_permanent: bool = False,
        headers: Mapping[str, str] | None = None,
        cause: str | None = None,
    ) -> None:
        super().__init__(cut(message, MAX_MESSAGE_CHARACTERS))
        self.status = status
        self.field = None if field is None else cut(field, MAX_FIELD_CHARACTERS)
        self.code = code
        self.limit = limit
        self.is_permanent = is_permanent
        self.headers = dict(headers or {})
        self.cause = cause or code or str(status)
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field of a request and what would work, in one or more sentences.

    `field` is None where the fault is not one field's.
    """

    message: str
    field: str | None
    code: str = "invalid_value"


def invalid(faults: Seq[Fault]) -> ApiError:
    """A 400 that describes every fault; its field and code are those of the first."""
    first, *others = faults
    message = first.message
    if others:
        described = " ".join(f"({number}) {fault.message}" for number, fault in enumerate(faults[:MAX_FAULTS], start=1))
        count = f"{len(faults)}" if len(faults) <= MAX_FAULTS else f"More than {MAX_FAULTS}"
        message = f"{count} faults: {described}"
    return ApiError(400, message, field=first.field, code=first.code)


def as_api_error(error: Exception) -> ApiError:
    """The error to answer an exception with, before the response has begun or in the middle of a stream."""
    match error:
        case ApiError():
            return error
        case QueueShareUsed():
            return ApiError(429, str(error), code="overloaded", retry_after=error.retry_after, cause="queue_share")
        case Overloaded():
            return ApiError(429, str(error), code="overloaded", retry_after=error.retry_after)
        case Unavailable():
            return ApiError(503, str(error), code="unavailable", retry_after=error.retry_after)
        case KillsEngine():
            return ApiError(500, str(error), code=error.finish_reason, is_permanent=True)
        case EngineDied():
            return ApiError(503, str(error), code="engine_died", retry_after=RESEND_SECONDS)
        case _:
            return ApiError(500, "The server met an unexpected error.", code="internal_error")


def error_at_end(reason: EndReason | None) -> ApiError | None:
    """The error to report for a sequence that ended with `reason`; None if it ended as it should."""
    match reason:
        case FinishReason.ABORT:
            return ApiError(503, "The server stopped before the end.", code="aborted", retry_after=RESEND_SECONDS)
        case FinishReason.ERROR:
            return ApiError(500, "The engine could not finish this sequence.", code="engine_error")
        case FinishReason.QUEUE_TIMEOUT:
            message = "The server is busy: the request waited longer than queue_timeout allows. Try again later."
            return ApiError(503, message, code=reason, retry_after=QUEUE_RETRY_SECONDS)
        case CutReason.REQUEST_TIMEOUT:
            message = "The answer took longer than request_timeout allows. Ask for a shorter one, or for fewer at once."
            return ApiError(504, message, code=reason, is_permanent=True)  # it would take as long again
        case _:
            return None
