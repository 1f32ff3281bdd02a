"""What is reported of a request when it has ended: how long it took, and its texts."""

from __future__ import annotations

from dataclasses import dataclass

from app.api.record import RequestRecord
from app.engine.stream import SequenceTimes
from app.text.detokenizer import IncrementalDetokenizer
from app.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Timings:
    """Times of a whole request, in seconds from its arrival; None for what did not happen.

    `queued` lasts until the first sequence is scheduled, `first_token` until the first token of any sequence.
    `per_output_token` is the mean over all tokens but the first of each sequence.
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
    """The prompt and the answer of each choice, as the model sees them."""
    if record.generation is None:
        return []
    tokenizer = record.generation.tokenizer
    return [
        (_text(tokenizer, choice.prompt.token_ids), _text(tokenizer, choice.stream.output_token_ids))
        for choice in record.generation.choices
    ]


def _text(tokenizer: Tokenizer, token_ids: list[int]) -> str:
    detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=False)
    return detokenizer.push(token_ids) + detokenizer.flush()
