"""What is resubmitted after an engine process died, and the search for a sequence that crashes it each time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator

from app.messages import Generate

PROVING_STEPS = 2
"""A sequence that has grown in this many steps of an engine is past the point at which the previous engine died. One
step would be enough if overlapped steps could not leave the tokens of the previous step unreported at a crash."""

MAX_DEATHS_ALONE = 2
"""This many deaths of an engine with nothing else in it condemn a sequence."""

MAX_DEATHS_IN_COMPANY = 3
"""This many deaths as the only suspect among others condemn it too: it may be harmless alone, and only crash the engine
together with certain others."""


class Recovery:
    """Keeps the command of every open sequence, and decides in which order they are resubmitted after a death.

    After a first death all sequences continue at once, because most deaths do not repeat. If the engine dies again
    before all have proven themselves, by growing in `PROVING_STEPS` steps, the suspects are those that had begun and
    were not proven: a killer crashes the engine where it crashed it before. A sequence that had only been waiting is
    not suspected, unless nothing had begun at all.

    Suspects are tried in halves (group testing by binary splitting: Sobel and Groll 1959). After a restart the proven
    ones go first, then half of the suspects, half of the rest, and so on, each group once the previous one is proven;
    all other sequences come last, including new ones. The killer is in the group that is on trial at the next death, so
    each death halves the suspects. A single suspect goes first and alone, so that it is not condemned for what others
    do.

    One killer among n suspects costs about log2(n) deaths. The search terminates: at each death some sequence has
    grown, or there are fewer suspects, or one of them is closer to being condemned. There is no clock: everything
    depends on the reported events alone.
    """

    def __init__(self) -> None:
        self._open: dict[int, Generate] = {}
        # Groups that have not been submitted yet, in order; new sequences join the last one.
        self._held: deque[list[int]] = deque()
        # Sequences that must be proven before the next group is submitted.
        self._on_trial: set[int] = set()
        # Submitted to this engine but not begun; begun but not proven, with the number of steps in which each grew.
        self._waiting: set[int] = set()
        self._begun: dict[int, int] = {}
        self._has_anything_begun = False
        # Lost in a death and not proven since.
        self._returning: set[int] = set()
        # Deaths with a single suspect, by that sequence and by whether it was alone in the engine.
        self._num_deaths: Counter[tuple[int, bool]] = Counter()

    def opened(self, command: Generate) -> None:
        """Add a new sequence; it is `due` at once, unless others are on trial."""
        self._open[command.seq_id] = command
        if not self._held:
            self._held.append([])
        self._held[-1].append(command.seq_id)

    def ended(self, seq_id: int) -> None:
        """Forget a sequence that has ended for whatever reason: it is neither submitted nor suspected any more."""
        del self._open[seq_id]
        self._waiting.discard(seq_id)
        self._acquit(seq_id)

    def began(self, seq_ids: Iterable[int]) -> None:
        """The engine is about to compute these sequences for the first time."""
        self._has_anything_begun = True
        for seq_id in seq_ids:
            if seq_id in self._waiting:
                self._waiting.remove(seq_id)
                self._begun[seq_id] = 0

    def grew(self, seq_ids: Collection[int]) -> None:
        """These sequences got tokens in a step."""
        if not self._begun:
            return
        for seq_id in self._begun.keys() & seq_ids:
            self._begun[seq_id] += 1
            if self._begun[seq_id] >= PROVING_STEPS:
                self._acquit(seq_id)

    def is_returning(self, seq_id: int) -> bool:
        """Whether an engine died with this sequence in it, and the sequence has not proven itself since."""
        return seq_id in self._returning

    def due(self) -> list[Generate]:
        """The commands to submit now; empty if there are none, or while others are on trial."""
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
        """Everything that was submitted is lost and will be due again. Returns the id of the sequence that killed the
        engine if that is certain; the caller has to end it.
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
        """The groups in which all sequences are submitted to the next engine, in order."""
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
    """Half of the ids, half of the rest, and so on; the last two groups have one each."""
    rest = seq_ids
    while len(rest) > 1:
        middle = (len(rest) + 1) // 2
        yield rest[:middle]
        rest = rest[middle:]
    yield rest
