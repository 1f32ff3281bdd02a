"""Guessing the next tokens of a sequence from its own: what followed the last time that it said the same."""

from __future__ import annotations

from array import array
from collections.abc import Container
from itertools import takewhile
from zlib import crc32

SIZES = (4, 2)
"""N-grams that are looked up, in tokens; the longest that occurred before says what may follow."""

MOST_DRAFTED = 8
"""Tokens guessed at once: 8 of them right bring most of what any number could, 8 wrong cost a step or two."""

FIRST_CREDIT, MOST_CREDIT = 4.0, 2.0 * MOST_DRAFTED

ALLOWANCE = 1 / 32
"""Credit that every step brings. It bounds what guessing costs where it never helps: one guess in 32 steps."""

MOST_INDEXED = 512
"""Tokens taken into the index at once, so that no step waits for a long prompt."""

MOST_SLOTS = 2**18


class Drafter:
    """Prompt lookup (Saxena 2023, also in transformers and vLLM) for one sequence, with an index and a purse.

    The index is a hash table of a fixed size with the position after each n-gram's last occurrence; of two n-grams
    that meet in a slot the later one stays. Drafted tokens are paid from the credit, at most half of it at once, and
    accepted ones are paid back with interest: drafts double while all is right, shrink when it is not, and pause when
    nothing is.
    """

    __slots__ = ("_credit", "_num_indexed", "_num_slots", "_slots")

    def __init__(self, max_num_tokens: int) -> None:
        self._num_slots = min(MOST_SLOTS, 4 << (len(SIZES) * max_num_tokens).bit_length())
        self._slots = array("i")
        self._num_indexed = SIZES[0]
        self._credit = FIRST_CREDIT

    def draft(self, token_ids: array[int], most: int, stop_token_ids: Container[int]) -> tuple[int, ...]:
        """Guess up to `most` tokens that follow these, none of them a stop token; often none at all."""
        self._credit = min(self._credit + ALLOWANCE, MOST_CREDIT)
        count = min(most, int(self._credit + 1) // 2)
        if count <= 0:
            return ()
        self._index(token_ids)
        position = self._find(token_ids)
        if not position:
            return ()
        # A guess that reaches the end goes on with itself, as in LZ77: what repeats is expected to go on repeating.
        period = len(token_ids) - position
        guessed = (token_ids[position + index % period] for index in range(count))
        drafted = tuple(takewhile(lambda token_id: token_id not in stop_token_ids, guessed))
        self._credit -= len(drafted)
        return drafted

    def reward(self, num_accepted: int, worth: float) -> None:
        """Pay back drafted tokens that were right: each saved as much as `worth` drafted ones cost."""
        self._credit += num_accepted * worth

    def _index(self, token_ids: array[int]) -> None:
        if not self._slots:
            self._slots = array("i", bytes(4 * self._num_slots))
        begin = self._num_indexed
        self._num_indexed = max(begin, min(len(token_ids), begin + MOST_INDEXED))
        for position in range(begin, self._num_indexed):
            for size in SIZES:
                self._slots[self._slot(token_ids[position - size : position])] = position

    def _find(self, token_ids: array[int]) -> int:
        """The position after the last occurrence of the longest suffix that has one; 0 for none."""
        for size in SIZES:
            suffix = token_ids[-size:]
            position = self._slots[self._slot(suffix)]
            if position and token_ids[position - size : position] == suffix:
                return position
        return 0

    def _slot(self, ngram: array[int]) -> int:
        return crc32(ngram) % self._num_slots
