"""The one place for what belongs to a request: whose it is, how it is answered and what became of it."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope, Send

    from app.api.errors import ApiError
    from app.api.gate.owner import Owner
    from app.api.gate.rate_limits import Ticket
    from app.api.generation.dialect import Answer, Dialect
    from app.api.generation.generation import Generation
    from app.api.generation.request import GenerationRequest
    from app.api.wire.client import Client

RECORD = "record"
"""The key of a scope's state that holds the request's record."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED = 1


@dataclass(frozen=True, slots=True)
class Trace:
    """The span that a request belongs to: ours if spans are recorded, else the client's. Ids are hexadecimal."""

    trace_id: str = ""
    span_id: str = ""
    sampled: bool = False


def parse_traceparent(header: str) -> Trace:
    """The client's span, by W3C Trace Context. A malformed header counts as none, as the standard demands."""
    found = TRACEPARENT.fullmatch(header)
    if found is None or (header.startswith("00") and found[4]):
        return Trace()
    return Trace(found[1], found[2], bool(int(found[3], 16) & SAMPLED))


def choose_request_id(header: str) -> str:
    """The client's id if it is safe to log and to send back, else a new one."""
    return header if REQUEST_ID.fullmatch(header) else uuid.uuid4().hex


@dataclass(slots=True)
class RequestRecord:
    """Filled in step by step by whatever handles the request. `arrived` is in seconds of the monotonic clock.

    `operation` is OpenTelemetry's name for what the route generates, "" for a request that does not ask to generate.
    `send` is the server's own, past all middleware: only the start of a response concerns them. `owner` is set by
    authentication, and `ticket` where rate limits apply. `request`, `generation` and `answer` are set together, once
    the sequences have been submitted.
    """

    request_id: str
    trace: Trace
    arrived: float
    send: Send
    dialect: Dialect
    client: Client
    operation: str = ""
    owner: Owner = field(init=False)
    ticket: Ticket | None = None
    route: str = ""
    status: int = 0
    error: ApiError | None = None
    request: GenerationRequest | None = None
    generation: Generation | None = None
    answer: Answer | None = None

    def begin(self, request: GenerationRequest, generation: Generation, answer: Answer) -> None:
        """The sequences have been submitted, and nothing has come of them yet."""
        self.request, self.generation, self.answer = request, generation, answer
        if self.trace.sampled:
            for stream in generation.streams:
                stream.trace_id = self.trace.trace_id

    @property
    def asks_to_generate(self) -> bool:
        return bool(self.operation)

    @property
    def outcome(self) -> str:
        """How the sequences ended, or the code of the error that kept them from beginning."""
        if self.generation is not None:
            reasons = (stream.finish_reason for stream in self.generation.streams)
            return "+".join(sorted({reason for reason in reasons if reason is not None}))
        return self.error.cause if self.error is not None else str(self.status)


def record_of(scope: Scope) -> RequestRecord:
    """The record of the request with this ASGI scope."""
    record: RequestRecord = scope["state"][RECORD]
    return record
