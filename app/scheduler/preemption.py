"""Who gives way when cache blocks or places run out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from collections.abc import Sequence as Seq
from operator import attrgetter

from app.scheduler.sequence import Sequence


def last_in_turn(running: Seq[Sequence], scheduled: Container[int]) -> Sequence:
    """Who gives its blocks to those scheduled before it: of the owner that runs most, the last in its own order.

    The first in order only gives way if there is nobody else, so that somebody always comes to an end.
    """
    num_running = _num_running(running)
    first = min(running, key=lambda s: s.order)
    others = [s for s in running if s.seq_id not in scheduled and s is not first]
    last = max(others or [first], key=lambda s: (s.precedence, num_running[s.owner], s.arrival))
    theirs = (s for s in others if (s.owner, s.precedence) == (last.owner, last.precedence))
    return max(theirs, key=attrgetter("own_order"), default=last)


def who_makes_room(running: Seq[Sequence], newcomer: Sequence) -> list[Sequence]:
    """Who may give way to the first sequence of an owner that runs nothing, the last of them first to go.

    All but one of the owner that runs most, in its own order, as far as they are no more urgent; nobody if the
    newcomer's owner runs something, and will have a place as soon as that ends.
    """
    num_running = _num_running(running)
    if not running or newcomer.owner in num_running:
        return []
    [(owner, _)] = num_running.most_common(1)
    theirs = (s for s in running if s.owner == owner and s.precedence >= newcomer.precedence)
    givers = sorted(theirs, key=attrgetter("order"))[1:]
    return sorted(givers, key=attrgetter("own_order"))


def _num_running(running: Iterable[Sequence]) -> Counter[str]:
    return Counter(sequence.owner for sequence in running)
