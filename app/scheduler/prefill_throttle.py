"""How much of the prompts a step takes while others decode, learnt from how long steps took."""

from __future__ import annotations

MIN_PREFILL_TOKENS = 64
"""Of prompts in a step, where they are owed: with fewer, reading the weights would cost more than what is computed."""

MEMORY = 0.75
"""Share of what was known that remains with each step seen: the machine may slow down, contexts grow."""


class PrefillThrottle:
    """Keeps steps that decoding sequences wait for within `max_seconds`, as far as `MIN_PREFILL_TOKENS` allow.

    A long prompt holds up everybody's next token by the step that computes a piece of it. What piece fits a time
    depends on model and machine, so it is measured: seconds per token over the last steps with prompts in them.
    """

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self._num_tokens = 0.0
        self._seconds = 0.0

    def observe(self, num_tokens: int, seconds: float) -> None:
        """A step with prompts computed so many tokens in so many seconds."""
        self._num_tokens = MEMORY * self._num_tokens + num_tokens
        self._seconds = MEMORY * self._seconds + seconds

    def limit(self, budget: int, num_decoding: int) -> int:
        """Tokens of the next step, out of a budget, if so many sequences wait for it with one token each."""
        if not num_decoding or not self._seconds:
            return budget
        fitting = self._max_seconds * self._num_tokens / self._seconds
        return int(min(budget, max(fitting, num_decoding + MIN_PREFILL_TOKENS)))
