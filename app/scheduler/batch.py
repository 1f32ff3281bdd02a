"""What the scheduler asks of the model in one step, and what the model answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.messages import TokenLogprobs
from app.scheduler.sequence import Sequence

NO_TOKEN = -1


@dataclass(frozen=True, slots=True)
class ScheduledRow:
    """Compute tokens `start` to `end` of a sequence; sample the next one if that reaches its last token."""

    sequence: Sequence
    start: int
    end: int

    @property
    def num_tokens(self) -> int:
        return self.end - self.start

    @property
    def samples(self) -> bool:
        return self.end == self.sequence.num_tokens

    @property
    def prompt_logprob_positions(self) -> range:
        """Positions in this row whose logits are wanted because they predict a prompt token not yet reported."""
        sequence = self.sequence
        if sequence.params.prompt_logprobs is None:
            return range(0)
        first = max(self.start, sequence.num_prompt_logprobs)
        return range(first, max(first, min(self.end, sequence.num_prompt_tokens - 1)))


@dataclass(frozen=True, slots=True)
class ScheduledBatch:
    """Rows of one token come first, shortest context first, so that rows of a kind are neighbours.

    `admitted` maps the id of each sequence scheduled for the first time to its number of cached tokens.
    """

    rows: list[ScheduledRow]
    num_prefill_tokens: int
    num_decode_tokens: int
    num_prefix_queried: int
    num_prefix_hits: int
    num_preempted: int
    admitted: dict[int, int]


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """`token_ids[i]` and `logprobs[i]` belong to the i-th row that samples; prompt logprobs to sequences by id.
    `forward_seconds` is the host's time in the model itself, without preparing its inputs and sampling.

    `NO_TOKEN` stands where the model's numbers were not finite and nothing could be sampled.
    """

    token_ids: list[int]
    logprobs: dict[int, TokenLogprobs] = field(default_factory=dict)
    prompt_logprobs: dict[int, list[TokenLogprobs]] = field(default_factory=dict)
    forward_seconds: float = 0.0
