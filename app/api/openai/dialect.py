"""OpenAI's dialect: its error object, and the end of its streams."""

from __future__ import annotations

import json

from app.api.errors import ApiError
from app.api.generation.dialect import Dialect
from app.api.wire.event_stream import DONE

UPGRADE_REFUSED = 501
"""The only status of the server's range that is the client's fault."""


class OpenAIDialect(Dialect):
    """Errors have the four fields of OpenAI's error object. A stream ends with `[DONE]`, with an error or without."""

    def error_body(self, error: ApiError) -> str:
        fields = {"message": str(error), "type": _type(error), "param": error.field, "code": error.code}
        return json.dumps({"error": fields})

    def error_headers(self, error: ApiError) -> dict[str, str]:
        """OpenAI's clients repeat 429 and 5xx by themselves unless this header says not to."""
        return {"X-Should-Retry": "false"} if error.is_permanent else {}

    def error_events(self, error: ApiError) -> str:
        return f"data: {self.error_body(error)}\n\n{DONE}"


def _type(error: ApiError) -> str:
    if error.limit is not None:
        return error.limit
    if error.status == 429:
        return "rate_limit_error"
    return "server_error" if error.status >= 500 and error.status != UPGRADE_REFUSED else "invalid_request_error"


OPENAI = OpenAIDialect()
