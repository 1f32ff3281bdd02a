"""Which running sequences are preempted when cache blocks or places in the batch run out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from collections.abc import Sequence as Seq
from operator import attrgetter

from app.scheduler.sequence import Sequence


def last_in_turn(running: Seq[Sequence], scheduled: Container[int]) -> Sequence:
    """The running sequence to preempt for those already `scheduled` (ids) in this step.

    It is the last in the order of the owner with the most running sequences, among the least urgent. The first sequence
    of all is only chosen if there is no other, so that some sequence always finishes.
    """
    num_running = _num_running(running)
    first = min(running, key=lambda s: s.order)
    others = [s for s in running if s.seq_id not in scheduled and s is not first]
    last = max(others or [first], key=lambda s: (s.precedence, num_running[s.owner], s.arrival))
    theirs = (s for s in others if (s.owner, s.precedence) == (last.owner, last.precedence))
    return max(theirs, key=attrgetter("own_order"), default=last)


def preemptible_for(running: Seq[Sequence], newcomer: Sequence) -> list[Sequence]:
    """The running sequences that may be preempted for a newcomer; the last in the list goes first.

    These are all sequences but one of the owner with the most running sequences, in that owner's order, unless they are
    more urgent than the newcomer. None if the newcomer's owner runs something already: then there will be a place for
    it as soon as that ends.
    """
    num_running = _num_running(running)
    if not running or newcomer.owner in num_running:
        return []
    [(owner, _)] = num_running.most_common(1)
    theirs = (s for s in running if s.owner == owner and s.precedence >= newcomer.precedence)
    all_but_first = sorted(theirs, key=attrgetter("order"))[1:]
    return sorted(all_but_first, key=attrgetter("own_order"))


def _num_running(running: Iterable[Sequence]) -> Counter[str]:
    return Counter(sequence.owner for sequence in running)
