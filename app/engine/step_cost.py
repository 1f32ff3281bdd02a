"""Measures the fixed cost of a step, from which speculation derives how many draft tokens are worth computing."""

from __future__ import annotations

from itertools import pairwise
from time import perf_counter

from app.engine.core import EngineCore
from app.messages import SamplingParams
from app.scheduler.batch import Admission, ScheduledBatch, ScheduledRow
from app.scheduler.sequence import Sequence

NUM_TOKENS = 8
MIN_TRIES, TRY_SECONDS = 3, 0.1

MIN_COST, MAX_COST = 0.5, 64.0
"""Bounds of the result, in tokens. Where the cost of further tokens is lost in noise, any large number would do."""


def measure_step_cost(core: EngineCore, max_num_tokens: int) -> float:
    """What a step costs besides its tokens, in draft tokens computed for the same price.

    Compares the fastest steps of one token and of `NUM_TOKENS` (at most `max_num_tokens`) tokens of one sequence. The
    engine must be idle; afterwards the cache is unchanged but for the contents of free blocks.
    """
    num_tokens = min(NUM_TOKENS, max_num_tokens)
    pool, block_size = core.scheduler.pool, core.scheduler.block_size
    sequence = Sequence(0, [0], SamplingParams(max_tokens=num_tokens, temperature=0, seed=0))
    sequence.block_table.extend(pool.allocate(-(-num_tokens // block_size)))
    one, several = _least_seconds(core, [_decode(sequence, length) for length in (1, num_tokens)])
    pool.release(sequence.block_table)
    return step_cost_of(one, several, num_tokens)


def step_cost_of(one: float, several: float, num_tokens: int) -> float:
    """The step cost, given the seconds that steps of one token and of `num_tokens` take; `MAX_COST` if equal."""
    per_token = (several - one) / max(1, num_tokens - 1)
    return MAX_COST if per_token <= one / (MAX_COST + 1) else max(MIN_COST, one / per_token - 1)


def _decode(sequence: Sequence, num_tokens: int) -> ScheduledBatch:
    """A step that computes the sequence's first token and draft tokens after it."""
    draft = (0,) * (num_tokens - 1)
    row = ScheduledRow(sequence, 0, num_tokens, num_tokens, ends_unknown=False, decodes=True, draft=draft)
    return ScheduledBatch.of([row], {}, Admission())


def _least_seconds(core: EngineCore, batches: list[ScheduledBatch]) -> list[float]:
    """The shortest time of each batch, in seconds.

    They are executed alternately for at least `TRY_SECONDS`, because small models are easily disturbed, and at least
    `MIN_TRIES` times, because large models are slow.
    """
    taken: list[list[float]] = []
    while len(taken) < MIN_TRIES or sum(map(sum, taken)) < TRY_SECONDS:
        times = [perf_counter()]
        for batch in batches:
            core.runner.execute(batch).wait()
            times.append(perf_counter())
        taken.append([end - begin for begin, end in pairwise(times)])
    return [min(times) for times in zip(*taken, strict=True)]
