"""What the scheduler asks of the model in one step, and what the model answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter

from app.messages import TokenLogprobs, WaitReason
from app.scheduler.sequence import Sequence

NO_TOKEN = -1
NO_POSITIONS = range(0)


class Sampled:
    """A sequence as it stands where a step samples its next token: behind `num_tokens` tokens.

    These are the sequence's own, and then the guesses `drafted`, taken for right. Where `ends_unknown`, the last one is
    missing: the step before samples it.
    """

    __slots__ = ("drafted", "ends_unknown", "num_tokens", "params", "sequence")

    def __init__(self, sequence: Sequence, num_tokens: int, ends_unknown: bool, drafted: tuple[int, ...] = ()) -> None:
        self.sequence = sequence
        self.params = sequence.params
        self.num_tokens = num_tokens
        self.ends_unknown = ends_unknown
        self.drafted = drafted

    @property
    def num_prompt_tokens(self) -> int:
        return self.sequence.num_prompt_tokens

    @property
    def num_output_tokens(self) -> int:
        return self.num_tokens - self.sequence.num_prompt_tokens


@dataclass(slots=True)
class ScheduledRow:
    """Compute tokens `start` to `end` of a sequence; sample the next one if that reaches its last token.

    The last of these tokens may be a `draft`, guesses behind the end of the sequence: then sample after its last token
    and after each guess, `num_samples` in all. Or the last one is unknown to the host as yet (`ends_unknown`), since
    the step before samples it. A row `decodes` where it computes one token of the output, and guesses behind it.
    `prompt_logprob_positions` are those whose logits are wanted because they predict a prompt token not yet reported.
    All of it holds for the moment of scheduling; the sequence moves on. Rows do not change once their step is put
    together; they are made hundreds at a time, and a frozen class would take six times as long.
    """

    sequence: Sequence
    start: int
    end: int
    num_samples: int
    ends_unknown: bool
    decodes: bool
    prompt_logprob_positions: range = NO_POSITIONS
    draft: tuple[int, ...] = ()

    @classmethod
    def next_of(cls, sequence: Sequence, num_tokens: int) -> ScheduledRow:
        """The next tokens that a sequence is owed, `num_tokens` of them if there are as many."""
        start = sequence.num_computed_tokens
        end = min(sequence.num_tokens, start + num_tokens)
        num_samples = 1 if end == sequence.num_tokens else 0
        decodes = end == start + 1 > sequence.num_prompt_tokens
        row = cls(sequence, start, end, num_samples, end > len(sequence.token_ids), decodes)
        if sequence.params.prompt_logprobs is not None:
            first = max(start, sequence.num_prompt_logprobs)
            row.prompt_logprob_positions = range(first, max(first, min(end, sequence.num_prompt_tokens - 1)))
        return row

    def append_draft(self, draft: tuple[int, ...]) -> None:
        """Put guesses behind the last token, if this row reaches it."""
        self.draft = draft
        self.end += len(draft)
        self.num_samples += len(draft)

    @property
    def num_tokens(self) -> int:
        return self.end - self.start

    @property
    def sampled(self) -> list[Sampled]:
        """In order of positions."""
        if not self.draft:
            return [Sampled(self.sequence, self.end, self.ends_unknown)] if self.num_samples else []
        num_known = self.end - len(self.draft)
        return [Sampled(self.sequence, num_known + i, False, self.draft[:i]) for i in range(self.num_samples)]

    def advance(self) -> None:
        """Let the sequence stand where this row leaves it, if all guesses are right."""
        sequence = self.sequence
        sequence.num_computed_tokens = self.end
        sequence.num_tokens += self.num_samples
        sequence.num_prompt_logprobs += len(self.prompt_logprob_positions)


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

    @classmethod
    def of(cls, rows: Iterable[ScheduledRow], preempted: dict[int, int], admission: Admission) -> ScheduledBatch:
        """Put rows in order and count their tokens."""
        by_context = sorted(rows, key=attrgetter("end"))
        ordered = sorted(by_context, key=lambda row: row.end - row.start > 1)
        num_decode_tokens = sum([row.end - row.start for row in ordered if row.decodes])
        num_prefill_tokens = sum([row.end - row.start for row in ordered if not row.decodes])
        return cls(ordered, num_prefill_tokens, num_decode_tokens, preempted, admission)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compute, and nothing to tell."""
        return not (self.rows or self.preempted or self.admission.expired)


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """`token_ids[i]` and `logprobs[i]` belong to the i-th token that rows sample; prompt logprobs to sequences by id.
    `forward_seconds` is the host's time in the model itself, `input_seconds` that of preparing its inputs.

    `NO_TOKEN` stands where the model's numbers were not finite and nothing could be sampled. It is also an execution
    that has ended: what was computed at once needs no waiting for.
    """

    token_ids: list[int]
    logprobs: dict[int, TokenLogprobs] = field(default_factory=dict)
    prompt_logprobs: dict[int, list[TokenLogprobs]] = field(default_factory=dict)
    forward_seconds: float = 0.0
    input_seconds: float = 0.0

    def wait(self) -> ModelOutput:
        return self
