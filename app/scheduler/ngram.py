"""Guessing the next tokens of a sequence from its own: what followed the last time that it said the same."""

from __future__ import annotations

from array import array
from collections.abc import Container
from itertools import takewhile
from math import log
from zlib import crc32

SIZES = (4, 2)
"""N-grams that are looked up, in tokens; the longest that occurred before says what may follow."""

MAX_DRAFT_TOKENS = 15
"""Tokens guessed at once: with the one before them they fill two tiles of the compiled kernels."""

FIRST_CHANCE, MIN_CHANCE, MAX_CHANCE = 1 / 2, 1 / 128, 63 / 64

REMEMBERED = 0.75
"""How much of what was believed remains with each guess judged: a few that are right or wrong settle the matter."""

TRIAL_STEPS = 32
"""Where guesses seem not to pay, one is made in so many steps. It bounds what guessing costs where it never helps."""

MAX_INDEXED_TOKENS = 512
"""Tokens taken into the index at once, so that no step waits for a long prompt."""

MAX_SLOTS = 2**18


class Drafter:
    """Prompt lookup (Saxena 2023, also in transformers and vLLM) for one sequence, with an index and an estimate.

    The index is a hash table of a fixed size with the position after each n-gram's last occurrence; of two n-grams
    that meet in a slot the later one stays. The estimate is the chance that a guess is right if all before it are: a
    draft is as long as its last token pays.
    """

    __slots__ = ("_chance", "_log_chance", "_num_indexed", "_num_paused", "_num_slots", "_slots")

    def __init__(self, max_num_tokens: int) -> None:
        self._num_slots = min(MAX_SLOTS, 4 << (len(SIZES) * max_num_tokens).bit_length())
        self._slots = array("i")
        self._num_indexed = SIZES[0]
        self._chance, self._log_chance = FIRST_CHANCE, log(FIRST_CHANCE)
        self._num_paused = TRIAL_STEPS - 1

    def num_paying(self, worth: float) -> int:
        """How many guesses to make: the largest k with chance^k * worth >= 1, since the k-th guess is right only if all
        before it are. Most often none, but then one now and again.

        `worth`, over 1: how many drafted tokens cost as much as one that is right saves.
        """
        count = min(int(-log(worth) / self._log_chance), MAX_DRAFT_TOKENS)
        self._num_paused = 0 if count else (self._num_paused + 1) % TRIAL_STEPS
        return count or int(self._num_paused == 0)

    def draft(self, token_ids: array[int], count: int, stop_token_ids: Container[int]) -> tuple[int, ...]:
        """Guess up to `count` tokens that follow these, none of them a stop token; often none at all."""
        self._index(token_ids)
        position = self._find(token_ids)
        if not position:
            return ()
        # A guess that reaches the end goes on with itself, as in LZ77: what repeats is expected to go on repeating.
        period = len(token_ids) - position
        guessed = (token_ids[position + index % period] for index in range(count))
        return tuple(takewhile(lambda token_id: token_id not in stop_token_ids, guessed))

    def learn(self, num_drafted: int, num_right: int) -> None:
        """So many guesses of a draft were right, and then one was not, if there was another."""
        chance = 1 - (1 - self._chance) * REMEMBERED**num_right
        if num_right < num_drafted:
            chance *= REMEMBERED
        self._chance = min(max(chance, MIN_CHANCE), MAX_CHANCE)
        self._log_chance = log(self._chance)

    def _index(self, token_ids: array[int]) -> None:
        if not self._slots:
            self._slots = array("i", bytes(4 * self._num_slots))
        slots, num_slots, begin = self._slots, self._num_slots, self._num_indexed
        self._num_indexed = max(begin, min(len(token_ids), begin + MAX_INDEXED_TOKENS))
        for position in range(begin, self._num_indexed):
            for size in SIZES:
                slots[crc32(token_ids[position - size : position]) % num_slots] = position

    def _find(self, token_ids: array[int]) -> int:
        """The position after the last occurrence of the longest suffix that has one; 0 for none."""
        for size in SIZES:
            suffix = token_ids[-size:]
            position = self._slots[crc32(suffix) % self._num_slots]
            if position and token_ids[position - size : position] == suffix:
                return position
        return 0
