"""The prefill throttle: how many prompt tokens a step computes while other sequences decode."""

from __future__ import annotations

MIN_PREFILL_TOKENS = 64
"""A step is always allowed this many prompt tokens: with fewer, reading the weights would cost more than computing."""

DECAY = 0.75
"""Weight that earlier observations keep with each new step: the machine may slow down, and contexts grow."""


class PrefillThrottle:
    """Keeps the steps that decoding sequences wait for within `max_seconds`, as far as `MIN_PREFILL_TOKENS` permits.

    A step that computes a chunk of a long prompt delays the next token of every decoding sequence. How large a chunk
    fits into a given time depends on the model and the machine, so it is measured: as the time per token, averaged over
    recent steps with prompt tokens in them.
    """

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self._num_tokens = 0.0
        self._seconds = 0.0

    def observe(self, num_tokens: int, seconds: float) -> None:
        """Learn from a step with prompt tokens in it, which computed `num_tokens` in all."""
        self._num_tokens = DECAY * self._num_tokens + num_tokens
        self._seconds = DECAY * self._seconds + seconds

    def limit(self, budget: int, num_decoding: int) -> int:
        """The token budget of the next step, reduced if `num_decoding` sequences wait for it with one token each."""
        if not num_decoding or not self._seconds:
            return budget
        fitting = self._max_seconds * self._num_tokens / self._seconds
        return int(min(budget, max(fitting, num_decoding + MIN_PREFILL_TOKENS)))
