"""What `/openapi.json` says about answers: every status that a route may give, and the shape of its errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

Responses = dict[int | str, dict[str, Any]]


class ErrorObject(BaseModel):
    """What went wrong and what would work. `param` is the first field at fault, `code` names the kind of error."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The shape of errors in OpenAI's dialect, which is also that of all routes without a dialect of their own."""

    error: ErrorObject


DESCRIPTIONS = {
    400: "The request is not valid HTTP, or asks for what cannot be done; the message says what would work.",
    401: "An API key is needed.",
    403: "The server does not answer to this `Host`, or not without a key of its own.",
    404: "The model is not served here.",
    408: "The request did not come in time.",
    413: "The body is too large.",
    415: "The body is compressed.",
    429: "The queue is full, or the key has used up what it may.",
    431: "The head of the request is too large.",
    500: "The server or the model failed.",
    503: "The server cannot take the request now.",
    504: "The answer took longer than the server gives a request.",
}

OF_CONNECTIONS = (400, 403, 408, 431, 500, 503)
"""Errors that any request may get, before its route is known."""


def errors(*statuses: int, body: type[BaseModel] = ErrorBody) -> Responses:
    """The errors of a route that has these beside those of any route, with bodies of a dialect's shape."""
    return {
        status: {"model": body, "description": DESCRIPTIONS[status]} for status in sorted({*OF_CONNECTIONS, *statuses})
    }


def content(status: int, *media_types: str, description: str = "As asked for.") -> Responses:
    """An answer that is not an error, in one of these media types."""
    return {status: {"description": description, "content": {media_type: {} for media_type in media_types}}}


KEYED = errors(401)


def generation(body: type[BaseModel] = ErrorBody) -> Responses:
    """The answers of a route that generates."""
    statuses = (401, 404, 413, 415, 429, 504)
    return content(200, "application/json", "text/event-stream") | errors(*statuses, body=body)


def document_answers(app: FastAPI) -> None:
    """Leave out of the schema what FastAPI assumes and this application never answers: 422."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
