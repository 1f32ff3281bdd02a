"""A tiny engine that dies of what it is given, and a supervisor that recovers from it by `Recovery` alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from app.engine.recovery import Recovery
from app.messages import Generate, SamplingParams

Kills = Callable[[Mapping[int, int]], bool]
"""Whether a step kills the engine: its sequences, each with the number of output tokens that it has."""

TOO_MANY_DEATHS = 2000


def never(_: Mapping[int, int]) -> bool:
    return False


def at(*killers: int, position: int = 0) -> Kills:
    """Each of these sequences kills the engine in the step that computes this output token of it, every time."""
    return lambda step: any(step.get(killer) == position for killer in killers)


def together(*killers: int) -> Kills:
    """These sequences do no harm, but for a step that has all of them."""
    return lambda step: all(killer in step for killer in killers)


def any_of(*kills: Kills) -> Kills:
    return lambda step: any(kill(step) for kill in kills)


@dataclass
class Engine:
    """Begins the oldest of its sequences, `num_beginning` a step and `capacity` at once. A sequence's first token comes
    with its last step of `prompt_steps`.
    """

    kills: Kills
    capacity: int
    num_beginning: int
    prompt_steps: int
    refuses: Collection[int]
    waiting: dict[int, int] = field(default_factory=dict)
    running: dict[int, int] = field(default_factory=dict)
    owed_steps: dict[int, int] = field(default_factory=dict)

    def submit(self, command: Generate) -> bool:
        """Whether the engine survives it."""
        self.waiting[command.seq_id] = len(command.output_token_ids)
        return command.seq_id not in self.refuses

    def begin(self) -> list[int]:
        places = min(self.num_beginning, self.capacity - len(self.running))
        begun = sorted(self.waiting)[:places]
        for seq_id in begun:
            self.running[seq_id] = self.waiting.pop(seq_id)
            self.owed_steps[seq_id] = self.prompt_steps
        return begun

    def step(self) -> list[int] | None:
        """Who has grown; None if it has died."""
        if self.kills(self.running):
            return None
        for seq_id in self.running:
            self.owed_steps[seq_id] = max(0, self.owed_steps[seq_id] - 1)
        grown = [seq_id for seq_id in self.running if not self.owed_steps[seq_id]]
        for seq_id in grown:
            self.running[seq_id] += 1
        return grown


@dataclass
class World:
    """Runs all sequences to their ends, on as many engines as that takes. `killed_at` counts steps of all engines
    together: then somebody from outside kills the one that runs, before it reports the step.
    """

    num_tokens: list[int]
    kills: Kills = never
    capacity: int = 64
    num_beginning: int = 4
    prompt_steps: int = 1
    killed_at: Collection[int] = ()
    refuses: Collection[int] = ()
    newcomers: dict[int, list[int]] = field(default_factory=dict)
    num_deaths: int = 0
    num_steps: int = 0
    condemned: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recovery = Recovery()
        self.made = dict.fromkeys(range(len(self.num_tokens)), 0)
        self.engine = self._start()
        for seq_id in self.made:
            self._open(seq_id)

    def run(self) -> World:
        while self.made.keys() - {*self.ended, *self.condemned} or self.newcomers:
            self._submit()
            self._take_step()
            assert self.num_deaths < TOO_MANY_DEATHS, "the search does not end"
        return self

    def _start(self) -> Engine:
        return Engine(self.kills, self.capacity, self.num_beginning, self.prompt_steps, self.refuses)

    def _open(self, seq_id: int) -> None:
        self.recovery.opened(Generate(seq_id, (1,), SamplingParams(max_tokens=self.num_tokens[seq_id])))

    def _submit(self) -> None:
        for command in self.recovery.due():
            made = (1,) * self.made[command.seq_id]
            if not self.engine.submit(Generate(command.seq_id, (1,), command.params, output_token_ids=made)):
                self._die()
                return

    def _take_step(self) -> None:
        self.num_steps += 1
        for seq_id in range(len(self.made), len(self.made) + len(self.newcomers.pop(self.num_steps, []))):
            self.made[seq_id] = 0
            self._open(seq_id)
        if begun := self.engine.begin():
            self.recovery.began(begun)
        grown = self.engine.step()
        if grown is None or self.num_steps in self.killed_at:
            self._die()
            return
        for seq_id in grown:
            self.made[seq_id] += 1
        self.recovery.grew(grown)
        for seq_id in [seq_id for seq_id in grown if self.made[seq_id] >= self.num_tokens[seq_id]]:
            del self.engine.running[seq_id]
            self.recovery.ended(seq_id)
            self.ended.append(seq_id)

    def _die(self) -> None:
        self.num_deaths += 1
        self.engine = self._start()
        condemned = self.recovery.engine_died()
        if condemned is not None:
            self.condemned.append(condemned)
            self.recovery.ended(condemned)
