"""Which tokens a sequence consists of, and how often: kept up as it grows, so that no step reads its history again."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary

import numpy as np

from app.scheduler.batch import Sampled
from app.scheduler.sequence import Sequence


class Occurrences:
    """`token_ids`, int32, are distinct and ascend; `counts[i]`, int32, is how often `token_ids[i]` occurred."""

    __slots__ = ("_end", "counts", "token_ids")

    def __init__(self, begin: int) -> None:
        """Of what stands at `begin` and behind it."""
        self._end = begin
        self.token_ids = array("i")
        self.counts = array("i")

    def follow(self, token_ids: array[int]) -> None:
        """Count what was appended since the last time: all of it at first, then a token or a few."""
        new = token_ids[self._end :]
        self._end += len(new)
        if self.token_ids:
            self.add(new)
        else:
            distinct, counts = np.unique(np.frombuffer(new, dtype=np.int32), return_counts=True)
            self.token_ids.frombytes(distinct.tobytes())
            self.counts.frombytes(counts.astype(np.int32).tobytes())

    def add(self, token_ids: Iterable[int]) -> None:
        for token_id in token_ids:
            place = bisect_left(self.token_ids, token_id)
            if place < len(self.token_ids) and self.token_ids[place] == token_id:
                self.counts[place] += 1
            else:
                self.token_ids.insert(place, token_id)
                self.counts.insert(place, 1)

    def and_of(self, drafted: tuple[int, ...]) -> Occurrences:
        """These and those of guesses, which may turn out to be wrong."""
        both = Occurrences(self._end)
        both.token_ids, both.counts = self.token_ids[:], self.counts[:]
        both.add(drafted)
        return both


class OccurrencesBySequence:
    """Made when a sequence is first asked about, and dropped with the sequence. Tokens are only ever appended to one,
    so that preemption changes nothing here."""

    def __init__(self, begin_of: Callable[[Sequence], int]) -> None:
        """`begin_of` tells where counting begins in a sequence."""
        self._begin_of = begin_of
        self._kept: WeakKeyDictionary[Sequence, Occurrences] = WeakKeyDictionary()

    def before(self, sampled: Sampled) -> Occurrences:
        """Among the tokens that the host knows before the one to be sampled, guesses included."""
        sequence = sampled.sequence
        kept = self._kept.get(sequence)
        if kept is None:
            kept = self._kept[sequence] = Occurrences(self._begin_of(sequence))
        kept.follow(sequence.token_ids)
        return kept.and_of(sampled.drafted) if sampled.drafted else kept
