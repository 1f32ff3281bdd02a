"""The engine process without a model: real pipe, commands, scheduler and steps, at a steady rate that costs nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

from app.config import Config
from app.engine.pipe import write_event
from app.engine.process import Inbox, serve
from app.scheduler.batch import ModelOutput, ScheduledBatch
from tests.builders import make_core, make_scheduler
from tests.scripted_engine import small

MIN_STEP_SECONDS = 0.002
BLOCK_SIZE = 16
MAX_MODEL_LEN = 4096


@dataclass
class PacedRunner:
    """Plays `script` to every sequence, `tokens_per_second` in all; no step is shorter than `MIN_STEP_SECONDS`."""

    script: list[int]
    tokens_per_second: float
    _due: float = 0.0

    def execute(self, batch: ScheduledBatch) -> ModelOutput:
        sampling = [sequence for row in batch.rows for sequence in row.sampled]
        now = time.monotonic()
        self._due = max(self._due, now) + max(len(sampling) / self.tokens_per_second, MIN_STEP_SECONDS)
        time.sleep(self._due - now)
        return ModelOutput([self.script[sampled.num_tokens % len(self.script)] for sampled in sampling])


def run_paced_engine(
    config: Config, commands: Connection, events: Connection, *, script: list[int], tokens_per_second: float
) -> None:
    """In place of `app.engine.process.run_engine`."""
    num_blocks = config.max_num_seqs * MAX_MODEL_LEN // BLOCK_SIZE
    scheduler = make_scheduler(num_blocks, BLOCK_SIZE, config.max_num_seqs, config.max_num_batched_tokens)
    send = partial(write_event, events.fileno())
    send(small(max_model_len=MAX_MODEL_LEN, vocab_size=max(script) + 1, block_size=BLOCK_SIZE, num_blocks=num_blocks))
    serve(make_core(scheduler, PacedRunner(script, tokens_per_second)), Inbox(commands), send)
