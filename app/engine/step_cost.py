"""What a step costs beside its tokens, by which speculation decides how much may be guessed."""

from __future__ import annotations

from itertools import pairwise
from time import perf_counter

from app.engine.core import EngineCore
from app.messages import SamplingParams
from app.scheduler.batch import Admission, ScheduledBatch, ScheduledRow
from app.scheduler.sequence import Sequence

NUM_TOKENS = 8
MIN_TRIES, TRY_SECONDS = 3, 0.1

LEAST, MOST = 0.5, 64.0
"""Tokens. Where the cost of more of them is lost in the noise, any number would do that is large."""


def measure_step_cost(core: EngineCore, max_num_tokens: int) -> float:
    """In tokens of a draft: from the quickest steps of a few, of one token and of eight (or so many as a step may have)
    of one sequence. Nothing may run; the cache is as it was, but for what free blocks hold."""
    num_tokens = min(NUM_TOKENS, max_num_tokens)
    pool, block_size = core.scheduler.pool, core.scheduler.block_size
    sequence = Sequence(0, [0], SamplingParams(max_tokens=num_tokens, temperature=0, seed=0))
    sequence.block_table.extend(pool.allocate(-(-num_tokens // block_size)))
    one, several = _least_seconds(core, [_decode(sequence, length) for length in (1, num_tokens)])
    pool.release(sequence.block_table)
    return step_cost_of(one, several, num_tokens)


def step_cost_of(one: float, several: float, num_tokens: int) -> float:
    """Of a step of one token and one of several, which take so many seconds. If they take the same, there is no telling
    how little a token costs."""
    per_token = (several - one) / max(1, num_tokens - 1)
    return MOST if per_token <= one / (MOST + 1) else max(LEAST, one / per_token - 1)


def _decode(sequence: Sequence, num_tokens: int) -> ScheduledBatch:
    """A step that computes the sequence's first token and guesses behind it."""
    draft = (0,) * (num_tokens - 1)
    row = ScheduledRow(sequence, 0, num_tokens, num_tokens, ends_unknown=False, decodes=True, draft=draft)
    return ScheduledBatch.of([row], {}, Admission())


def _least_seconds(core: EngineCore, batches: list[ScheduledBatch]) -> list[float]:
    """What each takes at its quickest, in turns: large models are slow, small ones are easily disturbed."""
    taken: list[list[float]] = []
    while len(taken) < MIN_TRIES or sum(map(sum, taken)) < TRY_SECONDS:
        times = [perf_counter()]
        for batch in batches:
            core.runner.execute(batch).wait()
            times.append(perf_counter())
        taken.append([end - begin for begin, end in pairwise(times)])
    return [min(times) for times in zip(*taken, strict=True)]
