"""What is owed to the streams of an engine process that died, and which of them may be what killed it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator

from app.messages import Generate

MOST_DEATHS = 3
"""A sequence that was under suspicion at this many deaths is not given to an engine again."""


class Recovery:
    """Keeps every open sequence as it was asked for, and hands all of them out again after a death.

    Those that ran are suspects. They are handed out one at a time, each when the one before it has grown by a token or
    ended, so that a sequence that kills the engine is soon alone under suspicion and its neighbours are not given up
    with it. Those that had only waited follow all at once.
    """

    def __init__(self) -> None:
        self._open: dict[int, Generate] = {}
        self._num_deaths: Counter[int] = Counter()
        self._suspects: deque[int] = deque()
        self._others: deque[int] = deque()
        self._on_trial: int | None = None

    def opened(self, command: Generate) -> None:
        self._open[command.seq_id] = command

    def ended(self, seq_id: int) -> None:
        del self._open[seq_id]
        del self._num_deaths[seq_id]
        self._acquit([seq_id])

    def engine_died(self, running: Collection[int]) -> list[int]:
        """Line up all open sequences, of which `running` had been scheduled; returns those to give up instead."""
        blamed = running if self._on_trial is None else [self._on_trial]
        self._num_deaths.update(blamed)
        # Whoever was on trial goes last, when the others have shown what they do.
        self._suspects = deque(sorted(running, key=lambda seq_id: (seq_id == self._on_trial, seq_id)))
        self._others = deque(sorted(self._open.keys() - set(running)))
        self._on_trial = None
        return [seq_id for seq_id in blamed if self._num_deaths[seq_id] >= MOST_DEATHS]

    def progressed(self, seq_ids: Collection[int]) -> None:
        """These sequences grew: the engine lives on with them."""
        if self._on_trial is not None:
            self._acquit(seq_ids)

    def due(self) -> Iterator[Generate]:
        """What to submit now."""
        while self._on_trial is None and self._suspects:
            if command := self._open.get(self._suspects.popleft()):
                self._on_trial = command.seq_id
                yield command
        while self._on_trial is None and self._others:
            if command := self._open.get(self._others.popleft()):
                yield command

    def _acquit(self, seq_ids: Collection[int]) -> None:
        if self._on_trial in seq_ids:
            self._on_trial = None
