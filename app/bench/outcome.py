"""What became of one request, with the monotonic time of everything that came back. All times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from app.bench.workload import PlannedRequest

BROKEN_ENDINGS = {"abort", "error"}


class BenchError(Exception):
    """The benchmark cannot go on; the message says why and what would help."""


@dataclass(slots=True, eq=False)
class Outcome:
    """One request. It grows while the stream is read, so that others can watch it.

    `text_times` has a time for each event that carried text: a server may put several tokens into one event.
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
        """Keep the first thing that went wrong."""
        if self.error is None:
            self.error = error

    @property
    def ok(self) -> bool:
        """Whether the answer came whole. A stream that was cut, or that ended with an error, is none."""
        return self.error is None and self.done and self.finish_reason is not None

    @property
    def num_output_tokens(self) -> int:
        """As the server counted them in `usage`; without that, the events that carried text."""
        return len(self.text_times) if self.counted_tokens is None else self.counted_tokens

    @property
    def ttft(self) -> float | None:
        """From sending (with the connection, if one had to be made) to the first text. None if no text ever came."""
        return self.text_times[0] - self.sent_at if self.text_times else None

    @property
    def gaps(self) -> list[float]:
        """ITL: between one event with text and the next."""
        return [later - earlier for earlier, later in pairwise(self.text_times)]

    @property
    def e2e(self) -> float | None:
        """From sending to the event with the finish reason."""
        return None if self.finished_at is None else self.finished_at - self.sent_at

    @property
    def tpot(self) -> float | None:
        """(E2E - TTFT) / (output tokens - 1). An answer of one token has none."""
        if self.ttft is None or self.e2e is None or self.num_output_tokens < 2:
            return None
        return (self.e2e - self.ttft) / (self.num_output_tokens - 1)

    @property
    def ended_early(self) -> bool:
        """Whether fewer tokens came than were asked for."""
        return self.ok and self.num_output_tokens < self.planned.num_output_tokens

    def conclude(self) -> None:
        """Judge the stream once its response has ended: what was never said is an error."""
        if self.finish_reason in BROKEN_ENDINGS:
            self.fail(f"finish_reason {self.finish_reason}")
        elif self.finish_reason is None:
            self.fail("the stream ended without a finish reason")
        elif not self.done:
            self.fail("the stream ended without [DONE]")
