"""What is owed to the streams of an engine process that died, and the search for a sequence that kills it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator

from app.messages import Generate

PROVING_STEPS = 2
"""A sequence that has grown in this many steps of an engine is past what killed the last one. One step would do if an
engine that launches steps ahead never died with the tokens of the step before unreported."""

MAX_DEATHS_ALONE = 2
"""So many deaths with nothing else in the engine condemn a sequence."""

MAX_DEATHS_IN_COMPANY = 3
"""So many as the only suspect beside others do: it may do no harm alone, and kill the engine beside certain others."""


class Recovery:
    """Keeps every open sequence as it was asked for, and hands all of them out again after a death.

    After one death everybody goes on at once: most deaths do not repeat. If the engine dies again before all have
    proven themselves, by growing in `PROVING_STEPS` steps, those that had begun and were not proven are suspects: a
    killer dies again where it died before. A sequence that had only waited is none, unless nothing had begun at all.

    Suspects are tried in halves (group testing by binary splitting). After a restart those that were proven go first,
    then half of the suspects, half of the rest, and so on, each group once the one before it is proven; everybody else
    comes last, new sequences too. The group on trial at the next death has the killer, so each death halves the
    suspects. A single suspect goes first and alone, so that it is not condemned for what others do.

    One killer among n suspects costs about log2 n deaths. The search ends: at each death somebody has grown, or there
    are fewer suspects, or one of them is closer to being condemned. It has no clock: all depends on what it is told.
    """

    def __init__(self) -> None:
        self._open: dict[int, Generate] = {}
        # Groups that are not submitted yet, in turn; new sequences join the last.
        self._held: deque[list[int]] = deque()
        # Those that the next group waits for.
        self._on_trial: set[int] = set()
        # Submitted to this engine and not begun; begun and not proven, with the number of steps in which each grew.
        self._waiting: set[int] = set()
        self._begun: dict[int, int] = {}
        self._has_anything_begun = False
        # Lost in a death and not proven since.
        self._returning: set[int] = set()
        # As the only suspect, by sequence and by whether it was alone in the engine.
        self._num_deaths: Counter[tuple[int, bool]] = Counter()

    def opened(self, command: Generate) -> None:
        """A new sequence, which is `due` at once unless others are on trial."""
        self._open[command.seq_id] = command
        if not self._held:
            self._held.append([])
        self._held[-1].append(command.seq_id)

    def ended(self, seq_id: int) -> None:
        """Whatever its end, it is not to be submitted or suspected any more."""
        del self._open[seq_id]
        self._waiting.discard(seq_id)
        self._acquit(seq_id)

    def began(self, seq_ids: Iterable[int]) -> None:
        """The engine is about to compute something of these for the first time."""
        self._has_anything_begun = True
        for seq_id in seq_ids:
            if seq_id in self._waiting:
                self._waiting.remove(seq_id)
                self._begun[seq_id] = 0

    def grew(self, seq_ids: Collection[int]) -> None:
        """A step gave these their next tokens."""
        if not self._begun:
            return
        for seq_id in self._begun.keys() & seq_ids:
            self._begun[seq_id] += 1
            if self._begun[seq_id] >= PROVING_STEPS:
                self._acquit(seq_id)

    def is_returning(self, seq_id: int) -> bool:
        """Whether an engine died with this sequence, and it has not proven itself since."""
        return seq_id in self._returning

    def due(self) -> list[Generate]:
        """What to submit now. Empty if nothing is, or somebody is on trial."""
        while self._held and not self._on_trial:
            commands = [self._open[seq_id] for seq_id in self._held.popleft() if seq_id in self._open]
            group = {command.seq_id for command in commands}
            self._waiting |= group
            if self._held:
                self._on_trial = group
            if commands:
                return commands
        return []

    def engine_died(self) -> int | None:
        """Everything that was submitted is lost, and will be due again. Returns the sequence that killed the engine, if
        that is certain: it is for the caller to end.
        """
        suspects = self._suspects() if self._returning else []
        is_alone = self._waiting | self._begun.keys() == self._open.keys() - self._held_ids() == set(suspects)
        condemned = self._count_death(suspects[0], is_alone) if len(suspects) == 1 else None
        self._held = deque(self._groups(suspects, condemned))
        self._on_trial, self._waiting, self._begun = set(), set(), {}
        self._has_anything_begun = False
        self._returning = set(self._open)
        return condemned

    def _suspects(self) -> list[int]:
        unproven = self._begun.keys() or self._on_trial or (set() if self._has_anything_begun else self._waiting)
        return sorted(unproven)

    def _held_ids(self) -> set[int]:
        return {seq_id for group in self._held for seq_id in group}

    def _count_death(self, seq_id: int, is_alone: bool) -> int | None:
        self._num_deaths[seq_id, is_alone] += 1
        limit = MAX_DEATHS_ALONE if is_alone else MAX_DEATHS_IN_COMPANY
        return seq_id if self._num_deaths[seq_id, is_alone] >= limit else None

    def _groups(self, suspects: list[int], condemned: int | None) -> Iterator[list[int]]:
        """In which order all are submitted to the next engine."""
        if condemned is not None or not suspects:
            yield sorted(self._open.keys() - {condemned})
            return
        tried: set[int] = set()
        if len(suspects) > 1:
            tried = self._open.keys() - self._held_ids() - self._waiting - self._begun.keys() - set(suspects)
            yield sorted(tried)
        yield from halves(suspects)
        yield sorted(self._open.keys() - tried - set(suspects))

    def _acquit(self, seq_id: int) -> None:
        self._begun.pop(seq_id, None)
        self._on_trial.discard(seq_id)
        self._returning.discard(seq_id)
        if not self._returning:
            self._num_deaths.clear()


def halves(seq_ids: list[int]) -> Iterator[list[int]]:
    """Half of them, half of the rest, and so on; the last two groups have one each."""
    rest = seq_ids
    while len(rest) > 1:
        middle = (len(rest) + 1) // 2
        yield rest[:middle]
        rest = rest[middle:]
    yield rest
