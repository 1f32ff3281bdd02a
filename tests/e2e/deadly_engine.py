"""An engine process that dies of marked requests and in given phases of a start; all else is the real one.

A request is marked by its `seed`, which changes nothing where the temperature is 0.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from app.config import Config
from app.engine import process
from app.engine.core import EngineCore, Execution, Runner
from app.messages import Abort, Command, EngineLoading, Event
from app.scheduler.batch import ScheduledBatch, ScheduledRow
from tests.e2e.steady_server import fix_step_cost

DEADLY_POSITION = 5
"""The output token that is not computed any more where a decode step kills."""

ERROR = "error while "
"""Before a phase in a plan: it ends with an error."""


class Deadly(IntEnum):
    """Seeds, by the kind of step that kills the engine as often as it computes one for such a sequence."""

    FIRST_STEP = 666_001
    LATER_PREFILL = 666_002
    DECODE = 666_003
    SPECULATION = 666_004
    ABORTED = 666_005
    """The step after the sequence was aborted, which is empty if nothing else runs."""
    ERROR = 666_006
    """The first step raises an exception."""


def is_killed_by(row: ScheduledRow) -> bool:
    """Whether computing this row is the end of the process."""
    sequence = row.sequence
    match sequence.params.seed:
        case Deadly.FIRST_STEP | Deadly.ERROR:
            return True
        case Deadly.LATER_PREFILL:
            return 0 < row.start < sequence.num_prompt_tokens
        case Deadly.DECODE:
            return row.end - len(row.draft) >= sequence.num_prompt_tokens + DEADLY_POSITION
        case Deadly.SPECULATION:
            return bool(row.draft)
    return False


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DeadlyRunner:
    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def execute(self, batch: ScheduledBatch) -> Execution:
        for row in filter(is_killed_by, batch.rows):
            if row.sequence.params.seed == Deadly.ERROR:
                raise RuntimeError("this sequence is no good")
            die()
        return self._runner.execute(batch)


class DeadlyCore(EngineCore):
    """A core that dies in the step after it lost a sequence of `Deadly.ABORTED`."""

    def apply(self, command: Command) -> None:
        sequences = self.scheduler._sequences
        aborted = command.seq_ids if isinstance(command, Abort) else ()
        if any(sequences[seq_id].params.seed == Deadly.ABORTED for seq_id in aborted if seq_id in sequences):
            self.step = die  # type: ignore[assignment]
        super().apply(command)


@dataclass(frozen=True)
class DeadlyStarts:
    """`plan` is a file with a line for each start to come: the phase in which it is killed, or nothing. See `ERROR`."""

    plan: Path

    def next_phase(self) -> str:
        """Takes a line off the plan, and leaves this process's id beside it."""
        self.pid_file.write_text(str(os.getpid()))
        phase, _, rest = self.plan.read_text().partition("\n")
        self.plan.write_text(rest)
        return phase

    @property
    def pid_file(self) -> Path:
        return self.plan.with_suffix(".pid")


def run_deadly_engine(config: Config, commands: Connection, events: Connection, *, plan: Path) -> None:
    """In place of `app.engine.process.run_engine`."""
    phase = DeadlyStarts(plan).next_phase()
    write_event = process.write_event

    def write_or_die(fd: int, event: Event) -> None:
        write_event(fd, event)
        if isinstance(event, EngineLoading) and event.phase == phase.removeprefix(ERROR):
            if phase.startswith(ERROR):
                raise RuntimeError("as planned")
            die()

    serve: Callable[..., Any] = process.serve

    def serve_deadly(core: EngineCore, *arguments: Any) -> None:
        core.runner = DeadlyRunner(core.runner)
        core.__class__ = DeadlyCore
        serve(core, *arguments)

    fix_step_cost()
    process.write_event, process.serve = write_or_die, serve_deadly
    if phase == "starting the process":
        die()
    process.run_engine(config, commands, events)
