"""Which tokens occur in a sequence and how often, updated as it grows, so that no step reads its history again."""

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
        """Count tokens from index `begin` on."""
        self._end = begin
        self.token_ids = array("i")
        self.counts = array("i")

    def follow(self, token_ids: array[int]) -> None:
        """Count what was appended since the last call: everything at first, then one or a few tokens."""
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

    def with_draft(self, drafted: tuple[int, ...]) -> Occurrences:
        """A copy that also counts draft tokens, which may turn out to be rejected."""
        both = Occurrences(self._end)
        both.token_ids, both.counts = self.token_ids[:], self.counts[:]
        both.add(drafted)
        return both


class OccurrencesBySequence:
    """The occurrences of each sequence, counted from the first time it is asked for until the sequence is dropped.

    Tokens are only ever appended to a sequence, so preemption changes nothing here.
    """

    def __init__(self, begin_of: Callable[[Sequence], int]) -> None:
        """`begin_of` gives the index in a sequence from which tokens are counted."""
        self._begin_of = begin_of
        self._kept: WeakKeyDictionary[Sequence, Occurrences] = WeakKeyDictionary()

    def before(self, sampled: Sampled) -> Occurrences:
        """Occurrences among the tokens before the one to be sampled that the host knows, drafts included."""
        sequence = sampled.sequence
        kept = self._kept.get(sequence)
        if kept is None:
            kept = self._kept[sequence] = Occurrences(self._begin_of(sequence))
        kept.follow(sequence.token_ids)
        return kept.with_draft(sampled.drafted) if sampled.drafted else kept
