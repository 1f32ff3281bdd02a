"""Proposes draft tokens for a sequence from its own text: what followed the last time that the same tokens occurred."""

from __future__ import annotations

from array import array
from collections.abc import Container
from itertools import takewhile
from math import log
from zlib import crc32

SIZES = (4, 2)
"""Lengths of the n-grams that are looked up, in tokens; the longest one that occurred before gives the draft."""

MAX_DRAFT_TOKENS = 15
"""Longest draft: with the token before it, it fills two tiles of the compiled kernels."""

FIRST_CHANCE, MIN_CHANCE, MAX_CHANCE = 1 / 2, 1 / 128, 63 / 64

DECAY = 0.75
"""Weight that the old estimate keeps with each draft token verified: a few right or wrong ones change the estimate."""

TRIAL_STEPS = 32
"""Where drafts seem not to pay, one token is drafted once in this many steps. This bounds the cost of speculation on
text where it never helps."""

MAX_INDEXED_TOKENS = 512
"""Most tokens that are indexed at once, so that no step waits for a long prompt."""

MAX_SLOTS = 2**18


class Drafter:
    """Prompt lookup (Saxena 2023, also in transformers and vLLM) for one sequence, with an adaptive draft length.

    An index maps each n-gram to the position after its last occurrence. It is a hash table of fixed size, in which a
    later n-gram replaces an earlier one with the same slot. The draft length follows from an estimate of the chance
    that a draft token is right if all before it are: a draft grows as long as its last token is worth computing.
    """

    __slots__ = ("_chance", "_log_chance", "_num_indexed", "_num_paused", "_num_slots", "_slots")

    def __init__(self, max_num_tokens: int) -> None:
        self._num_slots = min(MAX_SLOTS, 4 << (len(SIZES) * max_num_tokens).bit_length())
        self._slots = array("i")
        self._num_indexed = SIZES[0]
        self._chance, self._log_chance = FIRST_CHANCE, log(FIRST_CHANCE)
        self._num_paused = TRIAL_STEPS - 1

    def num_paying(self, worth: float) -> int:
        """How many tokens to draft: the largest k with chance^k * worth >= 1, because the k-th draft token is only
        right if all before it are. If that is none, it is 1 in every `TRIAL_STEPS`-th call.

        `worth` (above 1) is how many draft tokens cost as much as an accepted one saves.
        """
        count = min(int(-log(worth) / self._log_chance), MAX_DRAFT_TOKENS)
        self._num_paused = 0 if count else (self._num_paused + 1) % TRIAL_STEPS
        return count or int(self._num_paused == 0)

    def draft(self, token_ids: array[int], count: int, stop_token_ids: Container[int]) -> tuple[int, ...]:
        """Propose up to `count` tokens to follow these, none of them a stop token. Often there are none."""
        self._index(token_ids)
        position = self._find(token_ids)
        if not position:
            return ()
        # A draft that reaches the end of the text continues with its own beginning, as in LZ77: repetition continues.
        period = len(token_ids) - position
        proposed = (token_ids[position + index % period] for index in range(count))
        return tuple(takewhile(lambda token_id: token_id not in stop_token_ids, proposed))

    def learn(self, num_drafted: int, num_accepted: int) -> None:
        """Update the estimate: so many tokens of a draft were accepted, and the next one, if there was one, was not."""
        chance = 1 - (1 - self._chance) * DECAY**num_accepted
        if num_accepted < num_drafted:
            chance *= DECAY
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
        """The position after the last occurrence of the longest suffix that has occurred before; 0 if none has."""
        for size in SIZES:
            suffix = token_ids[-size:]
            position = self._slots[crc32(suffix) % self._num_slots]
            if position and token_ids[position - size : position] == suffix:
                return position
        return 0
