"""Tiny worlds for the scheduler, runners whose every token is known beforehand, and a recount of all blocks."""

from __future__ import annotations

import time
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Any

from app.engine.core import EngineCore, Runner
from app.messages import FinishReason, SamplingParams, StepOutput, TokenLogprobs
from app.scheduler.batch import NO_TOKEN, ModelOutput, Sampled, ScheduledBatch, ScheduledRow
from app.scheduler.block_pool import BlockPool
from app.scheduler.scheduler import Scheduler
from app.scheduler.sequence import Sequence, SequenceStatus

VOCAB_SIZE = 50
Language = Callable[[Seq[int]], int]
"""What a scripted model says after given tokens, whatever else is in the batch."""

BROKEN_TOKEN = VOCAB_SIZE
"""A prompt token after which the fake cache's numbers are not finite."""


def make_scheduler(
    num_blocks: int = 100,
    block_size: int = 4,
    max_num_seqs: int = 16,
    max_num_batched_tokens: int = 64,
    step_cost: int = 0,
    max_gap_seconds: float = inf,
    clock: Callable[[], float] = time.monotonic,
) -> Scheduler:
    pool = BlockPool(num_blocks)
    return Scheduler(pool, block_size, max_num_seqs, max_num_batched_tokens, step_cost, max_gap_seconds, clock)


def make_core(scheduler: Scheduler | None = None, runner: Runner | None = None) -> EngineCore:
    return EngineCore(scheduler or make_scheduler(), runner or ScriptedRunner())


def prompt_of(seq_id: int, num_tokens: int) -> list[int]:
    """A prompt that has no prefix in common with that of another sequence."""
    return [1000 * (seq_id + 1) + position for position in range(num_tokens)]


def sequence(
    seq_id: int,
    prompt: int | Iterable[int] = 4,
    *,
    max_tokens: int = 4,
    priority: int = 0,
    cache_salt: str = "",
    owner: str = "",
    stop_token_ids: Iterable[int] = (),
    prompt_logprobs: int | None = None,
    deadline: float = inf,
    precedence: int | None = None,
) -> Sequence:
    """A sequence; a number for a prompt means that many tokens, all its own."""
    token_ids = prompt_of(seq_id, prompt) if isinstance(prompt, int) else prompt
    params = SamplingParams(max_tokens, stop_token_ids=frozenset(stop_token_ids), prompt_logprobs=prompt_logprobs)
    return Sequence(
        seq_id, token_ids, params, priority, cache_salt, owner=owner, deadline=deadline, precedence=precedence
    )


def next_token(token_ids: Seq[int]) -> int:
    """The usual language: never the same again."""
    return zlib.crc32(array("i", token_ids).tobytes()) % VOCAB_SIZE


def repeating(token_ids: Seq[int]) -> int:
    """A language of few words in which the last two mostly settle the next, and every seventh is a surprise."""
    heard = token_ids if len(token_ids) % 7 == 0 else token_ids[-2:]
    return zlib.crc32(array("i", heard).tobytes()) % 6


def tokens_alone(
    prompt: Seq[int], max_tokens: int, stop_token_ids: Iterable[int] = (), language: Language = next_token
) -> list[int]:
    """What a sequence gets that has the engine to itself."""
    output: list[int] = []
    while len(output) < max_tokens and not (output and output[-1] in stop_token_ids):
        output.append(language([*prompt, *output]))
    return output


class Carried:
    """What the last step sampled: the tokens that the next one may have to know before the host does."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}

    def tokens(self, sampled: Sampled) -> list[int]:
        """All tokens before the one to sample."""
        unknown = [self._last[sampled.sequence.seq_id]] if sampled.ends_unknown else []
        tokens = [*sampled.sequence.token_ids, *sampled.drafted, *unknown]
        assert len(tokens) == sampled.num_tokens
        return tokens

    def output(self, sampled: Seq[Sampled], token_ids: list[int], **others: Any) -> ModelOutput:
        self._last = {s.sequence.seq_id: token_id for s, token_id in zip(sampled, token_ids, strict=True)}
        return ModelOutput(token_ids, **others)


@dataclass
class ScriptedRunner:
    """A model without a cache: the next token follows from the tokens so far."""

    language: Language = next_token
    carried: Carried = field(default_factory=Carried)

    def execute(self, batch: ScheduledBatch) -> ModelOutput:
        sampled = [s for row in batch.rows for s in row.sampled]
        return self.carried.output(sampled, [self.language(self.carried.tokens(s)) for s in sampled])


@dataclass
class FakeCacheRunner:
    """A model that writes into each slot which token, after which prefix, its key would stand for.

    As the real one does, it writes all rows before it reads any; then every position that a row attends to must be
    found through the row's block table. A prompt that ends in `BROKEN_TOKEN` gives no token.
    """

    num_blocks: int
    block_size: int
    language: Language = next_token
    slots: list[int | None] = field(init=False)
    carried: Carried = field(init=False, default_factory=Carried)
    _contents_of_hash: dict[bytes, list[int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.slots = [None] * (self.num_blocks * self.block_size)

    def execute(self, batch: ScheduledBatch) -> ModelOutput:
        contents = [self._contents(row) for row in batch.rows]
        for row, content in zip(batch.rows, contents, strict=True):
            for position in range(row.start, row.end):
                self.slots[self._slot(row.sequence, position)] = content[position]
        for row, content in zip(batch.rows, contents, strict=True):
            read = [self.slots[self._slot(row.sequence, position)] for position in range(row.end)]
            assert read == content[: row.end], f"{row.sequence} reads what is not its own, or was never written"
        sampled = [s for row in batch.rows for s in row.sampled]
        heard = [self.carried.tokens(s) for s in sampled]
        return self.carried.output(
            sampled,
            [NO_TOKEN if tokens[-1] in (BROKEN_TOKEN, NO_TOKEN) else self.language(tokens) for tokens in heard],
            prompt_logprobs={row.sequence.seq_id: reports for row in batch.rows if (reports := _reports(row))},
        )

    def check_findable(self, pool: BlockPool) -> None:
        """Every block that a prefix can be found in holds that prefix, all of it."""
        size = self.block_size
        for block_hash, block_id in pool._by_hash.items():
            assert self.slots[block_id * size : (block_id + 1) * size] == self._contents_of_hash[block_hash]

    def _slot(self, sequence: Sequence, position: int) -> int:
        return sequence.block_table[position // self.block_size] * self.block_size + position % self.block_size

    def _contents(self, row: ScheduledRow) -> list[int]:
        contents: list[int] = []
        supposed = [*row.sequence.token_ids, *row.draft]
        if row.ends_unknown:
            supposed = self.carried.tokens(row.sampled[0])
        digest = zlib.crc32(row.sequence.cache_salt.encode())
        for token_id in supposed:
            digest = hash((digest, token_id))
            contents.append(digest)
        whole = Sequence(0, supposed, row.sequence.params, cache_salt=row.sequence.cache_salt)
        for index, block_hash in enumerate(whole.hash_full_blocks(self.block_size)):
            block = contents[index * self.block_size : (index + 1) * self.block_size]
            assert self._contents_of_hash.setdefault(block_hash, block) == block, "a hash stands for two prefixes"
        return contents


def _reports(row: ScheduledRow) -> list[TokenLogprobs]:
    return [TokenLogprobs(row.sequence.token_ids[p + 1], -float(p)) for p in row.prompt_logprob_positions]


def queue(scheduler: Scheduler, *sequences: Sequence) -> None:
    for s in sequences:
        scheduler.add(s)


def take_step(scheduler: Scheduler, language: Language = next_token) -> tuple[ScheduledBatch, StepOutput]:
    """One step with the scripted model, and all blocks recounted after it."""
    batch = scheduler.schedule()
    check_blocks(scheduler)
    step = scheduler.update(batch, ScriptedRunner(language).execute(batch))
    check_blocks(scheduler)
    return batch, step


def steps_to_end(
    scheduler: Scheduler, max_steps: int = 300, language: Language = next_token
) -> Iterator[tuple[ScheduledBatch, StepOutput]]:
    """Steps with the scripted model until nothing is left to do."""
    for _ in range(max_steps):
        if not scheduler.has_work:
            return
        yield take_step(scheduler, language)
    raise AssertionError(f"still at work after {max_steps} steps: {scheduler.running} {[*scheduler.waiting]}")


def first_preemption(scheduler: Scheduler) -> tuple[ScheduledBatch, StepOutput]:
    """Steps until somebody is preempted; the step in which that came about."""
    return next((batch, step) for batch, step in steps_to_end(scheduler) if step.stats.num_preempted)


def shape(batch: ScheduledBatch) -> list[tuple[int, int, int]]:
    """Its rows as (sequence id, start, end)."""
    return [(row.sequence.seq_id, row.start, row.end) for row in batch.rows]


def run_to_end(core: EngineCore, max_steps: int = 300) -> dict[int, list[int]]:
    """Step until nothing is left to do; the tokens that each sequence got on the way."""
    steps: list[StepOutput] = []
    for _ in range(max_steps):
        if not core.has_work:
            assert core.scheduler.pool.num_free == core.scheduler.pool.num_blocks
            return tokens_of(steps)
        steps.append(core.step())
        check_blocks(core.scheduler)
    raise AssertionError(f"still at work after {max_steps} steps: {core.scheduler.running} {[*core.scheduler.waiting]}")


def tokens_of(steps: Iterable[StepOutput]) -> dict[int, list[int]]:
    tokens: dict[int, list[int]] = {}
    for step in steps:
        for seq_id, token_id in zip(step.seq_ids, step.token_ids, strict=True):
            tokens.setdefault(seq_id, []).append(token_id)
    return tokens


def finish_reasons(steps: Iterable[StepOutput]) -> dict[int, FinishReason]:
    return {seq_id: reason for step in steps for seq_id, reason in step.finished.items()}


def ids(sequences: Iterable[Sequence]) -> list[int]:
    return [s.seq_id for s in sequences]


def check_blocks(scheduler: Scheduler) -> None:
    """Promise 2, by recounting: free + referenced = all, and what is shared is shared on purpose."""
    pool = scheduler.pool
    counts = Counter(block_id for s in scheduler.running for block_id in s.block_table)
    assert pool.ref_counts == [counts[block_id] for block_id in range(pool.num_blocks)]
    assert set(pool._free) == {block_id for block_id, count in enumerate(pool.ref_counts) if count == 0}
    assert pool.num_free + len(counts) == pool.num_blocks
    assert pool.num_shared == sum(count > 1 for count in counts.values())
    assert pool.num_cached == sum(pool._hashes[block_id] is not None for block_id in pool._free)
    assert pool._by_hash == {h: block_id for block_id, h in enumerate(pool._hashes) if h is not None}
    assert len(pool._by_hash) == sum(h is not None for h in pool._hashes), "two blocks hold one hash"
    for running in scheduler.running:
        _check_running(running, scheduler, counts)
    for waiting in scheduler.waiting:
        assert waiting.status is SequenceStatus.WAITING
        assert not waiting.block_table
        assert waiting.num_computed_tokens == 0
    for queue_of_owner in scheduler.waiting._queues.values():
        assert all(one.own_order < other.own_order for one, other in pairwise(queue_of_owner))
    retired = [s for s in scheduler._sequences.values() if s.status is SequenceStatus.FINISHED]
    assert all(s.num_unknown_tokens and s.num_tokens == s.max_num_tokens and not s.block_table for s in retired)
    assert sorted(ids([*scheduler.running, *scheduler.waiting, *retired])) == sorted(scheduler._sequences)


def _check_running(running: Sequence, scheduler: Scheduler, counts: Counter[int]) -> None:
    assert running.status is SequenceStatus.RUNNING
    assert running.finish_reason is None
    assert len(running.block_table) * scheduler.block_size >= running.num_computed_tokens
    hashes = running.hash_full_blocks(scheduler.block_size)
    for index, block_id in enumerate(running.block_table):
        found_by = scheduler.pool._hashes[block_id]
        assert counts[block_id] == 1 or found_by is not None, "shared, but cannot have been found"
        assert found_by is None or hashes[index : index + 1] == [found_by], "in the table of another prefix"
