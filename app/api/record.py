"""What is known of one request while it is answered, and what there is to tell of it in the end."""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.engine.stream import SequenceTimes
from app.text.detokenizer import IncrementalDetokenizer

if TYPE_CHECKING:
    from starlette.types import Send

    from app.api.errors import ApiError
    from app.api.gate.rate_limits import Visit
    from app.api.generation.generation import Generation
    from app.api.generation.reply import Reply
    from app.api.openai.schemas.sampling import SamplingFields
    from app.text.tokenizer import Tokenizer

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED = 1


@dataclass(frozen=True, slots=True)
class Trace:
    """The span that a request belongs to: ours if we record spans, else the client's. Ids are hexadecimal."""

    trace_id: str = ""
    span_id: str = ""
    sampled: bool = False


def parse_traceparent(header: str) -> Trace:
    """The client's span, by W3C Trace Context. One that is malformed counts as none, as the standard demands."""
    found = TRACEPARENT.fullmatch(header)
    if found is None or (header.startswith("00") and found[4]):
        return Trace()
    return Trace(found[1], found[2], bool(int(found[3], 16) & SAMPLED))


def choose_request_id(header: str) -> str:
    """The client's id if it can safely be logged and sent back, else one of our own."""
    return header if REQUEST_ID.fullmatch(header) else uuid.uuid4().hex


@dataclass(slots=True)
class RequestRecord:
    """Filled in by whoever learns something. `arrived` is a moment of the monotonic clock.

    `send` is the server's own, past all middleware: for what it minds nothing of, which is all but a response's start.
    `visit` stands for it where what its key may use is counted.
    """

    request_id: str
    trace: Trace
    arrived: float
    send: Send
    asks_to_generate: bool = False
    route: str = ""
    status: int = 0
    error: ApiError | None = None
    body: SamplingFields | None = None
    reply: Reply | None = None
    generation: Generation | None = None
    visit: Visit | None = None

    def begin(self, generation: Generation, reply: Reply, body: SamplingFields) -> None:
        """Its sequences have been submitted, and nothing has come of them yet."""
        self.generation, self.reply, self.body = generation, reply, body
        if self.trace.sampled:
            for stream in generation.streams:
                stream.trace_id = self.trace.trace_id

    @property
    def outcome(self) -> str:
        """How its sequences ended, or the code of the error that kept them from beginning."""
        if self.generation is not None:
            reasons = (stream.finish_reason for stream in self.generation.streams)
            return "+".join(sorted({reason for reason in reasons if reason is not None}))
        return self.error.cause if self.error is not None else str(self.status)


_current: ContextVar[RequestRecord] = ContextVar("record")


def recording(record: RequestRecord) -> None:
    """Make `record` that of the request which this task answers, and those tasks that it starts."""
    _current.set(record)


def current_record() -> RequestRecord:
    return _current.get()


@dataclass(frozen=True, slots=True)
class Timings:
    """Of a whole request, in seconds from its arrival; None for what did not happen.

    `queued` lasts until the first sequence is scheduled, `first_token` until the first token of all.
    `per_output_token` is the mean after the first tokens.
    """

    total: float
    queued: float | None
    first_token: float | None
    per_output_token: float | None

    @classmethod
    def of(cls, record: RequestRecord, now: float) -> Timings:
        streams = record.generation.streams if record.generation is not None else []
        all_times = [stream.times for stream in streams]
        scheduled = [times.scheduled for times in all_times if times.scheduled is not None]
        first = [times.first_token for times in all_times if times.first_token is not None]
        num_after_first = sum(max(0, stream.num_output_tokens - 1) for stream in streams)
        return cls(
            total=now - record.arrived,
            queued=min(scheduled) - record.arrived if scheduled else None,
            first_token=min(first) - record.arrived if first else None,
            per_output_token=sum(map(_decoding, all_times)) / num_after_first if num_after_first else None,
        )


def _decoding(times: SequenceTimes) -> float:
    return times.last_token - times.first_token if times.first_token and times.last_token else 0.0


def texts_of(record: RequestRecord) -> list[tuple[str, str]]:
    """The prompt and the answer of each choice, as they are to the model."""
    if record.generation is None or record.reply is None:
        return []
    tokenizer = record.reply.tokenizer
    return [
        (_text(tokenizer, choice.prompt.token_ids), _text(tokenizer, choice.stream.output_token_ids))
        for choice in record.generation.choices
    ]


def _text(tokenizer: Tokenizer, token_ids: list[int]) -> str:
    detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=False)
    return detokenizer.push(token_ids) + detokenizer.flush()
