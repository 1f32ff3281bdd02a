"""The engine without its process: it takes commands, and every call of `step` returns the output of one step."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

from app.engine.constraints import Constraints, Prepared
from app.messages import Abort, Command, Constraint, Generate, StepOutput
from app.scheduler.batch import ModelOutput, ScheduledBatch
from app.scheduler.scheduler import Scheduler
from app.scheduler.sequence import Sequence


class Execution(Protocol):
    """A batch that is being computed."""

    def wait(self) -> ModelOutput: ...


class Runner(Protocol):
    """Starts executing a batch. Batches are computed one after another, in the order in which they were started."""

    def execute(self, batch: ScheduledBatch) -> Execution: ...


@dataclass(frozen=True, slots=True)
class InFlightStep:
    """A step whose results are not known yet, and when (seconds of `perf_counter`) its phases ended."""

    batch: ScheduledBatch
    execution: Execution
    began: float
    scheduled: float
    launched: float


class EngineCore:
    """A scheduler and something that executes what it schedules.

    With `overlap`, a step is scheduled and launched before the tokens of the previous one are known, so that the device
    never waits for the host. Sequences get the same tokens either way. Drafts are proposed from known tokens, so steps
    do not overlap under speculation, and where they do, the tokens that a grammar forces are sampled one by one.
    """

    def __init__(
        self, scheduler: Scheduler, runner: Runner, overlap: bool = False, constraints: Constraints | None = None
    ) -> None:
        """`runner` heeds the masks of `constraints`; without them, a constrained sequence ends with an error."""
        self.scheduler = scheduler
        self.runner = runner
        self.constraints = constraints or Constraints()
        self._num_ahead = int(overlap and not scheduler.speculates)
        if not self._num_ahead:
            scheduler.speculation.guides = self.constraints.guides
        self._in_flight: deque[InFlightStep] = deque()
        self._last_executed = 0.0

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work or bool(self._in_flight)

    def apply(self, command: Command | Prepared) -> None:
        """Take a command, or a sequence that `constraints` have prepared."""
        match command:
            case Abort():
                for seq_id in command.seq_ids:
                    self.constraints.drop(seq_id)
                    self.scheduler.abort(seq_id)
            case Prepared():
                self._begin_prepared(command)
            case Generate(constraint=None):
                self.scheduler.add(_sequence_of(command))
            case Generate(constraint=Constraint() as constraint):
                self.constraints.prepare(_sequence_of(command), constraint)

    def _begin_prepared(self, prepared: Prepared) -> None:
        if not self.constraints.accept(prepared):
            return
        if prepared.guide is None:
            self.scheduler.refuse(prepared.sequence.seq_id)
        else:
            self.scheduler.add(prepared.sequence)

    def step(self) -> StepOutput:
        """Schedule, execute and update; if steps overlap, scheduling and execution are one step ahead of the update.

        A step with nothing to compute still reports the state of the scheduler.
        """
        while len(self._in_flight) <= self._num_ahead:
            launched = self._launch()
            if self._in_flight and launched.batch.is_empty:
                break
            self._in_flight.append(launched)
        return self._update(self._in_flight.popleft())

    def _launch(self) -> InFlightStep:
        began = perf_counter()
        batch = self.scheduler.schedule()
        scheduled = perf_counter()
        execution = self.runner.execute(batch) if batch.rows else ModelOutput([])
        return InFlightStep(batch, execution, began, scheduled, perf_counter())

    def _update(self, step: InFlightStep) -> StepOutput:
        waiting = perf_counter()
        output = step.execution.wait()
        executed = perf_counter()
        self.scheduler.observe(step.batch, executed - max(step.scheduled, self._last_executed))
        self._last_executed = executed
        result = self.scheduler.update(step.batch, output)
        return replace(
            result,
            stats=replace(
                result.stats,
                schedule_seconds=step.scheduled - step.began,
                execute_seconds=step.launched - step.scheduled + executed - waiting,
                update_seconds=perf_counter() - executed,
                forward_seconds=output.forward_seconds,
                input_seconds=output.input_seconds,
            ),
        )


def _sequence_of(command: Generate) -> Sequence:
    return Sequence(
        command.seq_id,
        command.prompt_token_ids,
        command.params,
        command.priority,
        command.cache_salt,
        command.output_token_ids,
        command.owner,
        command.deadline,
        command.precedence,
    )
