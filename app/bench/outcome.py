"""The outcome of one request, with the arrival times of its events, in monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from app.bench.workload import PlannedRequest

BROKEN_ENDINGS = {"abort", "error"}


class BenchError(Exception):
    """The benchmark cannot continue; the message says why, and what would help."""


@dataclass(slots=True, eq=False)
class Outcome:
    """The outcome of one request. It is filled while the stream is read, so that progress can be watched.

    `text_times` has a time for each event with text; a server may put several tokens into one event.
    """

    planned: PlannedRequest
    lateness: float = 0.0
    sent_at: float = 0.0
    text_times: list[float] = field(default_factory=list)
    finished_at: float | None = None
    finish_reason: str | None = None
    status: int = 0
    done: bool = False
    error: str | None = None
    num_prompt_tokens: int | None = None
    num_cached_tokens: int | None = None
    counted_tokens: int | None = None

    def fail(self, error: str) -> None:
        """Record an error, unless there has been one before."""
        if self.error is None:
            self.error = error

    @property
    def ok(self) -> bool:
        """Whether the answer is complete: not cut off, and without an error."""
        return self.error is None and self.done and self.finish_reason is not None

    @property
    def num_output_tokens(self) -> int:
        """The server's count in `usage` or, without that, the number of events with text."""
        return len(self.text_times) if self.counted_tokens is None else self.counted_tokens

    @property
    def ttft(self) -> float | None:
        """Seconds from sending (including connecting, if necessary) to the first text; None if there was no text."""
        return self.text_times[0] - self.sent_at if self.text_times else None

    @property
    def gaps(self) -> list[float]:
        """Inter-token latencies: the seconds between consecutive events with text."""
        return [later - earlier for earlier, later in pairwise(self.text_times)]

    @property
    def e2e(self) -> float | None:
        """Seconds from sending to the event with the finish reason."""
        return None if self.finished_at is None else self.finished_at - self.sent_at

    @property
    def tpot(self) -> float | None:
        """(E2E - TTFT) / (output tokens - 1), in seconds; None for an answer of one token."""
        if self.ttft is None or self.e2e is None or self.num_output_tokens < 2:
            return None
        return (self.e2e - self.ttft) / (self.num_output_tokens - 1)

    @property
    def ended_early(self) -> bool:
        """Whether the answer has fewer tokens than requested."""
        return self.ok and self.num_output_tokens < self.planned.num_output_tokens

    def conclude(self) -> None:
        """Check the stream once its response has ended; a missing finish reason or [DONE] is an error."""
        if self.finish_reason in BROKEN_ENDINGS:
            self.fail(f"finish_reason {self.finish_reason}")
        elif self.finish_reason is None:
            self.fail("the stream ended without a finish reason")
        elif not self.done:
            self.fail("the stream ended without [DONE]")
