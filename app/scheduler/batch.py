"""What the scheduler asks the model to compute in one step, and what the model returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter

from app.messages import FinishReason, TokenLogprobs, WaitReason
from app.scheduler.sequence import Sequence

NO_TOKEN = -1
END_OF_GRAMMAR = -2
NO_POSITIONS = range(0)


class Sampled:
    """A sequence at one place where a step samples a token of it: after `num_tokens` tokens.

    These are the sequence's own tokens, followed by the draft tokens `drafted`, which are assumed to be right. If
    `ends_unknown`, the host does not know the last of them yet, because the previous step samples it.
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
    """Compute tokens `start` to `end` of a sequence, and sample the next one if that reaches its last token.

    The last of these tokens may be a `draft`, proposed beyond the end of the sequence: then tokens are sampled after
    its last token and after each draft token, `num_samples` in all. It `is_forced` if a grammar leaves no choice. Or
    the host may not know the last token yet (`ends_unknown`), because the previous step samples it. A row `decodes` if
    it computes one output token, with or without a draft. `prompt_logprob_positions` are the positions whose logits are
    needed because they predict a prompt token that has not been reported. All fields describe the moment of scheduling;
    the sequence moves on. Rows do not change once their batch is complete; the class is not frozen because hundreds are
    created per step, and creating frozen ones takes six times as long.
    """

    sequence: Sequence
    start: int
    end: int
    num_samples: int
    ends_unknown: bool
    decodes: bool
    prompt_logprob_positions: range = NO_POSITIONS
    draft: tuple[int, ...] = ()
    is_forced: bool = False

    @classmethod
    def next_of(cls, sequence: Sequence, num_tokens: int) -> ScheduledRow:
        """A row of the next tokens that a sequence is owed, at most `num_tokens` of them."""
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
        """Add draft tokens after the sequence's last token, which this row must reach."""
        self.draft = draft
        self.end += len(draft)
        self.num_samples += len(draft)

    @property
    def num_tokens(self) -> int:
        return self.end - self.start

    @property
    def sampled(self) -> list[Sampled]:
        """The places where this row samples a token, in order of position."""
        if not self.draft:
            return [Sampled(self.sequence, self.end, self.ends_unknown)] if self.num_samples else []
        num_known = self.end - len(self.draft)
        return [Sampled(self.sequence, num_known + i, False, self.draft[:i]) for i in range(self.num_samples)]

    def advance(self) -> None:
        """Move the sequence's counters to where this row leaves it if its whole draft is accepted."""
        sequence = self.sequence
        sequence.num_computed_tokens = self.end
        sequence.num_tokens += self.num_samples
        sequence.num_prompt_logprobs += len(self.prompt_logprob_positions)


@dataclass(slots=True)
class Admission:
    """The outcome of admitting waiting sequences in one step.

    `ended` are those that will never be scheduled, because their deadline has passed or they cannot begin. `admitted`
    maps the id of each sequence that is scheduled for the first time to the number of its tokens that were found in the
    prefix cache; `num_queried` counts the tokens that were looked up there. `num_recomputed` and `waiting_for` are as
    in `StepStats`.
    """

    ended: dict[int, FinishReason] = field(default_factory=dict)
    admitted: dict[int, int] = field(default_factory=dict)
    num_queried: int = 0
    num_recomputed: int = 0
    waiting_for: dict[WaitReason, int] = field(default_factory=dict)

    def count(self, row: ScheduledRow) -> None:
        """Count the first row of a sequence that has just left the waiting queue."""
        sequence = row.sequence
        if sequence.num_cached_tokens is None:
            sequence.num_cached_tokens = self.admitted[sequence.seq_id] = row.start
            self.num_queried += sequence.num_tokens if sequence.params.prompt_logprobs is None else 0
        else:
            self.num_recomputed += max(0, sequence.num_lost_tokens - row.start)


@dataclass(frozen=True, slots=True)
class ScheduledBatch:
    """The rows of one step: those of one token first, each kind by ascending context, so that like rows are adjacent.

    `preempted` maps the id of each sequence that was preempted to the number of its tokens that had been computed.
    """

    rows: list[ScheduledRow]
    num_prefill_tokens: int
    num_decode_tokens: int
    preempted: dict[int, int]
    admission: Admission

    @classmethod
    def of(cls, rows: Iterable[ScheduledRow], preempted: dict[int, int], admission: Admission) -> ScheduledBatch:
        """Make a batch of rows in any order."""
        by_context = sorted(rows, key=attrgetter("end"))
        ordered = sorted(by_context, key=lambda row: row.end - row.start > 1)
        num_decode_tokens = sum([row.end - row.start for row in ordered if row.decodes])
        num_prefill_tokens = sum([row.end - row.start for row in ordered if not row.decodes])
        return cls(ordered, num_prefill_tokens, num_decode_tokens, preempted, admission)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compute and nothing to report."""
        return not (self.rows or self.preempted or self.admission.ended)


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """What a step computed.

    `token_ids[i]` and `logprobs[i]` belong to the i-th token sampled, over all rows in order; `prompt_logprobs` is
    keyed by sequence id. `forward_seconds` is the time that the host spent in the model itself, `input_seconds` in
    preparing its inputs. A token id is `NO_TOKEN` if the logits were not finite and nothing could be sampled, and
    `END_OF_GRAMMAR` if nothing can follow and the sequence has no token that says so.

    It is also an `Execution` that has already finished, for runners that compute a batch at once.
    """

    token_ids: list[int]
    logprobs: dict[int, TokenLogprobs] = field(default_factory=dict)
    prompt_logprobs: dict[int, list[TokenLogprobs]] = field(default_factory=dict)
    forward_seconds: float = 0.0
    input_seconds: float = 0.0

    def wait(self) -> ModelOutput:
        return self
