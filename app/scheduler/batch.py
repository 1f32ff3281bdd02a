"""What the scheduler asks of the model in one step, and what the model answers."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from app.messages import SamplingParams, TokenLogprobs, WaitReason
from app.scheduler.sequence import Sequence

NO_TOKEN = -1


class Continuation:
    """A sequence as it will be if the given tokens, which are only drafted, prove right: what sampling must know."""

    __slots__ = ("_drafted", "_sequence", "num_output_tokens", "num_prompt_tokens", "num_tokens", "params")

    def __init__(self, sequence: Sequence, drafted: tuple[int, ...]) -> None:
        self._sequence = sequence
        self._drafted = drafted
        self.params: SamplingParams = sequence.params
        self.num_prompt_tokens = sequence.num_prompt_tokens
        self.num_tokens = sequence.num_tokens + len(drafted)
        self.num_output_tokens = sequence.num_output_tokens + len(drafted)

    @property
    def token_ids(self) -> array[int]:
        return self._sequence.token_ids + array("i", self._drafted)


Sampled = Sequence | Continuation
"""What a next token is sampled for."""


@dataclass(frozen=True, slots=True)
class ScheduledRow:
    """Compute tokens `start` to `end` of a sequence; sample the next one if that reaches its last token.

    The last of these tokens may be a `draft`, guesses behind the end of the sequence: then sample after its last token
    and after each guess.
    """

    sequence: Sequence
    start: int
    end: int
    draft: tuple[int, ...] = ()

    @property
    def num_tokens(self) -> int:
        return self.end - self.start

    @property
    def num_samples(self) -> int:
        num_beyond = self.end - len(self.sequence.token_ids)
        return num_beyond + 1 if num_beyond >= 0 else 0

    @property
    def decodes(self) -> bool:
        """Whether only one token of the output, and guesses behind it, are computed."""
        return self.start == self.end - len(self.draft) - 1 >= self.sequence.num_prompt_tokens

    @property
    def sampled(self) -> list[Sampled]:
        """In order of positions."""
        if self.draft:
            return [self.sequence, *(Continuation(self.sequence, self.draft[: i + 1]) for i in range(len(self.draft)))]
        return [self.sequence] if self.num_samples else []

    @property
    def prompt_logprob_positions(self) -> range:
        """Positions in this row whose logits are wanted because they predict a prompt token not yet reported."""
        sequence = self.sequence
        if sequence.params.prompt_logprobs is None:
            return range(0)
        first = max(self.start, sequence.num_prompt_logprobs)
        return range(first, max(first, min(self.end, sequence.num_prompt_tokens - 1)))


@dataclass(slots=True)
class Admission:
    """What admitting waiting sequences in one step came to.

    `expired` sequences were not scheduled by their deadline. `admitted` maps the id of each sequence scheduled for the
    first time to its number of cached tokens, `num_queried` of which were looked up. `num_recomputed` and
    `waiting_for` are as in `StepStats`.
    """

    expired: list[int] = field(default_factory=list)
    admitted: dict[int, int] = field(default_factory=dict)
    num_queried: int = 0
    num_recomputed: int = 0
    waiting_for: dict[WaitReason, int] = field(default_factory=dict)

    def count(self, row: ScheduledRow) -> None:
        """The first row of a sequence since it waited."""
        sequence = row.sequence
        if sequence.num_cached_tokens is None:
            sequence.num_cached_tokens = self.admitted[sequence.seq_id] = row.start
            self.num_queried += sequence.num_tokens if sequence.params.prompt_logprobs is None else 0
        else:
            self.num_recomputed += max(0, sequence.num_lost_tokens - row.start)


@dataclass(frozen=True, slots=True)
class ScheduledBatch:
    """Rows of one token come first, shortest context first, so that rows of a kind are neighbours.

    `preempted` maps the id of each sequence that gave its blocks back to how many of its tokens had been computed.
    """

    rows: list[ScheduledRow]
    num_prefill_tokens: int
    num_decode_tokens: int
    preempted: dict[int, int]
    admission: Admission


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """`token_ids[i]` and `logprobs[i]` belong to the i-th token that rows sample; prompt logprobs to sequences by id.
    `forward_seconds` is the host's time in the model itself, `input_seconds` that of preparing its inputs.

    `NO_TOKEN` stands where the model's numbers were not finite and nothing could be sampled.
    """

    token_ids: list[int]
    logprobs: dict[int, TokenLogprobs] = field(default_factory=dict)
    prompt_logprobs: dict[int, list[TokenLogprobs]] = field(default_factory=dict)
    forward_seconds: float = 0.0
    input_seconds: float = 0.0
