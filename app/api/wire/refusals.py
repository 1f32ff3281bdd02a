"""What a connection answers by itself, before or without the application."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.api.errors import ApiError

RETRY_SECONDS = 1
"""When a client that finds too many connections may try again: another may have closed by then."""


def too_large(message: str) -> ApiError:
    """The refusal of a request whose head exceeds a bound."""
    return ApiError(431, message, code="headers_too_large")


def too_many(limit: int) -> ApiError:
    """The refusal of a connection beyond `limit`."""
    message = f"There are {limit} connections already, as many as this server can have."
    return ApiError(503, message, code="too_many_connections", retry_after=RETRY_SECONDS)


def written(error: ApiError, text: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """A whole response in HTTP/1.1, after which the connection closes. `text` is the error as JSON, and `headers` are
    those of every response.
    """
    body = text.encode()
    of_error = ((name.encode(), value.encode()) for name, value in error.headers.items())
    own = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"connection", b"close"))
    fields = b"".join(b"%b: %b\r\n" % field for field in (*headers, *of_error, *own))
    return STATUS_LINE[error.status] + fields + b"\r\n" + body
