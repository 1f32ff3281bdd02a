"""Continuous batching: which tokens of which sequences the next step computes, and what became of the last one."""

from __future__ import annotations

from array import array
from bisect import insort
from itertools import islice
from math import inf

from app.messages import FinishReason, StepOutput, TokenLogprobs
from app.scheduler.batch import NO_TOKEN, Admission, ModelOutput, ScheduledBatch, ScheduledRow
from app.scheduler.block_pool import BlockPool
from app.scheduler.pace import Pace
from app.scheduler.sequence import Sequence, SequenceStatus
from app.scheduler.speculation import Speculation
from app.scheduler.statistics import step_stats, why_waiting

MAX_TIMES_PASSED = 64
"""A waiting sequence that does not fit may be passed by this many smaller ones; then admission waits for it."""

MAX_LOOKAHEAD = 16
"""How many waiting sequences that do not fit one step looks past."""


class Scheduler:
    """Hands out a token budget per step over sequences that share a pool of cache blocks.

    There are no phases: a sequence is owed `num_tokens - num_computed_tokens` tokens, so that chunked prefill, decode,
    prefix caching and recomputation after preemption are one rule (iteration-level scheduling: Orca, Yu et al. 2022;
    chunking: Sarathi-Serve, Agrawal et al. 2024). Every schedule terminates, because `add` refuses a sequence that
    could not run alone.
    """

    def __init__(
        self,
        pool: BlockPool,
        block_size: int,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        step_cost: int = 0,
        max_gap_seconds: float = inf,
    ) -> None:
        self.pool = pool
        self.block_size = block_size
        self.max_num_seqs = max_num_seqs
        self.max_num_batched_tokens = max_num_batched_tokens
        self._speculation = Speculation(pool, block_size, step_cost)
        self._pace = Pace(max_gap_seconds)
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self._sequences: dict[int, Sequence] = {}
        self._num_arrived = 0

    @property
    def has_work(self) -> bool:
        return bool(self._sequences)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence. Raises ValueError if it would not fit the cache even alone."""
        if self._num_blocks_for(sequence.max_num_tokens) > self.pool.num_blocks:
            raise ValueError(
                f"{sequence.max_num_tokens} tokens need {self._num_blocks_for(sequence.max_num_tokens)} blocks, "
                f"the cache has {self.pool.num_blocks}"
            )
        self._num_arrived += 1
        sequence.arrival = self._num_arrived
        self._sequences[sequence.seq_id] = sequence
        insort(self.waiting, sequence, key=lambda s: s.order)

    def abort(self, seq_id: int) -> None:
        """Drop a sequence and free its blocks at once; one that has already ended is left alone."""
        sequence = self._sequences.get(seq_id)
        if sequence is not None:
            sequence.finish(FinishReason.ABORT)
            self._remove(sequence)

    def schedule(self) -> ScheduledBatch:
        """Choose the next step's tokens and give them blocks: first the running sequences, then waiting ones."""
        rows: dict[int, ScheduledRow] = {}
        num_decoding = sum(sequence.num_owed_tokens == 1 for sequence in self.running)
        budget = self._pace.limit(self.max_num_batched_tokens, num_decoding)
        num_preempted = self._schedule_running(rows, budget)
        for row in rows.values():
            self._publish(row.sequence, row.start, row.end)
        admission = self._admit(rows, budget - sum(row.num_tokens for row in rows.values()))
        self._speculation.lengthen(rows, budget)
        ordered = sorted(rows.values(), key=lambda row: (row.num_tokens > 1, row.end))
        num_tokens = sum(row.num_tokens for row in ordered)
        num_decode = sum(row.num_tokens for row in ordered if row.decodes)
        return ScheduledBatch(
            rows=ordered,
            num_prefill_tokens=num_tokens - num_decode,
            num_decode_tokens=num_decode,
            num_preempted=num_preempted,
            admission=admission,
        )

    def observe(self, batch: ScheduledBatch, seconds: float) -> None:
        """Learn from how long the batch's execution took."""
        if batch.num_prefill_tokens:
            self._pace.observe(batch.num_prefill_tokens + batch.num_decode_tokens, seconds)

    def update(self, batch: ScheduledBatch, output: ModelOutput) -> StepOutput:
        """Advance every sequence of the batch by what was computed and sampled, and release those that ended."""
        sampled = iter(enumerate(output.token_ids))
        accepted: list[int] = []
        seq_ids: list[int] = []
        token_ids: list[int] = []
        logprobs: dict[int, TokenLogprobs] = {}
        finished: dict[int, FinishReason] = {}
        for row in batch.rows:
            sequence = row.sequence
            sequence.num_prompt_logprobs += len(row.prompt_logprob_positions)
            sequence.num_computed_tokens = row.end
            samples = [*islice(sampled, row.num_samples)]
            if row.draft:
                accepted.append(self._speculation.judge(row, samples, len(batch.rows)))
            for index, token_id in samples:
                if token_id == NO_TOKEN:
                    sequence.finish(FinishReason.ERROR)
                else:
                    if index in output.logprobs:
                        logprobs[len(token_ids)] = output.logprobs[index]
                    sequence.append(token_id)
                    seq_ids.append(sequence.seq_id)
                    token_ids.append(token_id)
            if row.draft:
                self._publish(sequence, row.start, sequence.num_computed_tokens)
            if sequence.finish_reason is not None:
                finished[sequence.seq_id] = sequence.finish_reason
                self._remove(sequence)
        return StepOutput(
            seq_ids=seq_ids,
            token_ids=token_ids,
            finished=finished,
            stats=step_stats(batch, accepted, self.pool, len(self.running), len(self.waiting)),
            logprobs=logprobs,
            prompt_logprobs=output.prompt_logprobs,
            admitted=batch.admission.admitted,
        )

    def _schedule_running(self, rows: dict[int, ScheduledRow], budget: int) -> int:
        """Fill `rows` from the running sequences; returns how many had to be preempted.

        Those owed a single token come first, so that no long prompt starves a decode; among equals, the oldest. Only
        these can lack a block, since admission takes all that a prompt needs, and the last in order gives way: whoever
        is preempted has not been given a row yet.
        """
        num_preempted = 0
        for sequence in sorted(self.running, key=lambda s: (s.num_owed_tokens > 1, s.order)):
            end = sequence.num_computed_tokens + min(sequence.num_owed_tokens, budget)
            num_new_blocks = max(0, self._num_blocks_for(end) - len(sequence.block_table))
            while self.pool.num_free < num_new_blocks and sequence.status is SequenceStatus.RUNNING:
                self._preempt(max(self.running, key=lambda s: s.order))
                num_preempted += 1
            if sequence.status is SequenceStatus.RUNNING and end > sequence.num_computed_tokens:
                sequence.block_table.extend(self.pool.allocate(num_new_blocks))
                rows[sequence.seq_id] = ScheduledRow(sequence, sequence.num_computed_tokens, end)
                budget -= end - sequence.num_computed_tokens
        return num_preempted

    def _admit(self, rows: dict[int, ScheduledRow], budget: int) -> Admission:
        """Start waiting sequences while budget and blocks last.

        Blocks for all known tokens are taken at once, and one is left to each running sequence to grow into: a
        sequence admitted on less would soon be preempted again. Blocks are published as they are admitted, so that
        equal prompts share them within this very step: the model writes a layer's keys before it reads any.
        """
        admitted: dict[int, int] = {}
        num_queried = num_recomputed = 0
        passed: list[Sequence] = []
        while budget and len(self.running) < self.max_num_seqs and self._may_pass(passed):
            sequence = self.waiting[len(passed)]
            found = self._find_cached(sequence)
            num_new_blocks = self._num_blocks_for(sequence.num_tokens) - len(found)
            if self.pool.num_allocatable(found) < num_new_blocks + len(self.running):
                passed.append(sequence)
                continue
            for smaller_went_first in passed:
                smaller_went_first.times_passed += 1
            self.waiting.pop(len(passed))
            row = self._start(sequence, found, num_new_blocks, budget)
            rows[sequence.seq_id] = row
            budget -= row.num_tokens
            if sequence.num_cached_tokens is None:
                sequence.num_cached_tokens = admitted[sequence.seq_id] = row.start
                num_queried += sequence.num_tokens if sequence.params.prompt_logprobs is None else 0
            else:
                num_recomputed += max(0, sequence.num_lost_tokens - row.start)
        has_place = len(self.running) < self.max_num_seqs
        waiting_for = why_waiting(len(self.waiting), len(passed), has_place, has_budget=budget > 0)
        return Admission(admitted, num_queried, num_recomputed, waiting_for)

    def _may_pass(self, passed: list[Sequence]) -> bool:
        """Whether there is someone behind these that do not fit, and all of them can still be passed."""
        return len(passed) < min(len(self.waiting), MAX_LOOKAHEAD + 1) and all(
            sequence.times_passed < MAX_TIMES_PASSED for sequence in passed
        )

    def _start(self, sequence: Sequence, found: list[int], num_new_blocks: int, budget: int) -> ScheduledRow:
        self.pool.reference(found)
        sequence.block_table.extend(found)
        sequence.block_table.extend(self.pool.allocate(num_new_blocks))
        sequence.num_computed_tokens = start = len(found) * self.block_size
        sequence.status = SequenceStatus.RUNNING
        self.running.append(sequence)
        row = ScheduledRow(sequence, start, start + min(sequence.num_owed_tokens, budget))
        self._publish(sequence, start, row.end)
        return row

    def _find_cached(self, sequence: Sequence) -> list[int]:
        """Cached blocks of this sequence's prefix: at least one token is left to compute, for it gives the logits."""
        if sequence.params.prompt_logprobs is not None:
            return []
        hashes = sequence.hash_full_blocks(self.block_size)
        return self.pool.find(hashes[: (sequence.num_tokens - 1) // self.block_size])

    def _publish(self, sequence: Sequence, start: int, end: int) -> None:
        """Make the blocks findable that tokens `start` to `end` fill to the brim; drafted ones must be accepted."""
        first, last = start // self.block_size, end // self.block_size
        if first < last:
            hashes = sequence.hash_full_blocks(self.block_size)
            for index in range(first, last):
                self.pool.publish(sequence.block_table[index], hashes[index])

    def _preempt(self, sequence: Sequence) -> None:
        """Take a running sequence's blocks; it waits at its place in the order and recomputes what is not cached."""
        self._release(sequence)
        sequence.num_lost_tokens, sequence.num_computed_tokens = sequence.num_computed_tokens, 0
        sequence.status = SequenceStatus.WAITING
        self.running.remove(sequence)
        insort(self.waiting, sequence, key=lambda s: s.order)

    def _remove(self, sequence: Sequence) -> None:
        del self._sequences[sequence.seq_id]
        if sequence in self.running:
            self.running.remove(sequence)
            self._release(sequence)
        else:
            self.waiting.remove(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.pool.release(sequence.block_table)
        sequence.block_table = array("i")

    def _num_blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size)
