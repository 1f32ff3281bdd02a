"""The engine without its process: commands in, one step at a time out."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Protocol

from app.messages import Abort, Command, StepOutput
from app.scheduler.batch import ModelOutput, ScheduledBatch
from app.scheduler.scheduler import Scheduler
from app.scheduler.sequence import Sequence


class Runner(Protocol):
    def execute(self, batch: ScheduledBatch) -> ModelOutput: ...


class EngineCore:
    """A scheduler and something that executes what it schedules."""

    def __init__(self, scheduler: Scheduler, runner: Runner) -> None:
        self.scheduler = scheduler
        self.runner = runner

    def apply(self, command: Command) -> None:
        if isinstance(command, Abort):
            for seq_id in command.seq_ids:
                self.scheduler.abort(seq_id)
        else:
            self.scheduler.add(
                Sequence(
                    command.seq_id,
                    command.prompt_token_ids,
                    command.params,
                    command.priority,
                    command.cache_salt,
                    command.output_token_ids,
                    command.owner,
                    command.deadline,
                )
            )

    def step(self) -> StepOutput:
        """Schedule, execute, update. A step with nothing to do reports the state of things."""
        began = perf_counter()
        batch = self.scheduler.schedule()
        scheduled = perf_counter()
        output = self.runner.execute(batch) if batch.rows else ModelOutput([])
        executed = perf_counter()
        self.scheduler.observe(batch, executed - scheduled)
        step = self.scheduler.update(batch, output)
        return replace(
            step,
            stats=replace(
                step.stats,
                schedule_seconds=scheduled - began,
                execute_seconds=executed - scheduled,
                update_seconds=perf_counter() - executed,
                forward_seconds=output.forward_seconds,
                input_seconds=output.input_seconds,
            ),
        )
