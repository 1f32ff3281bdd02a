"""Continuous batching: chooses which tokens of which sequences a step computes, and applies what it sampled."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from operator import attrgetter

from app.messages import FinishReason, StepOutput
from app.scheduler.batch import Admission, ModelOutput, ScheduledBatch, ScheduledRow
from app.scheduler.block_pool import BlockPool
from app.scheduler.block_tables import BlockTables
from app.scheduler.columns import Columns
from app.scheduler.preemption import last_in_turn, preemptible_for
from app.scheduler.prefill_throttle import PrefillThrottle
from app.scheduler.sequence import Sequence, SequenceStatus
from app.scheduler.speculation import Speculation
from app.scheduler.statistics import step_stats, why_waiting
from app.scheduler.waiting import WaitingQueue


class Scheduler:
    """Distributes a token budget per step among sequences that share a pool of cache blocks.

    There are no phases: a sequence is owed `num_tokens - num_computed_tokens` tokens, so that chunked prefill, decode,
    prefix caching and recomputation after preemption are one rule (iteration-level scheduling: Orca, Yu et al. 2022;
    chunking: Sarathi-Serve, Agrawal et al. 2024). The schedule always terminates, because `add` refuses a sequence that
    could not run alone.

    `schedule` already accounts for what its batch will do, so that the next batch may be scheduled before `update` is
    called with the samples of this one. Until then the id of a sequence's last token is unknown, and if the sequence
    turns out to have ended, the row that a later batch has for it is ignored.

    Owners share the engine (see `WaitingQueue`): whose prompt is computed next, who is admitted next and who is
    preempted depends on the service that each has received. With a single owner it depends on priority and arrival.
    """

    def __init__(
        self,
        pool: BlockPool,
        block_size: int,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        step_cost: float = 0,
        max_gap_seconds: float = inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pool = pool
        self.block_size = block_size
        self.max_num_seqs = max_num_seqs
        self.max_num_batched_tokens = max_num_batched_tokens
        self._tables = BlockTables(pool, block_size)
        self.speculation = Speculation(pool, block_size, step_cost)
        self._throttle = PrefillThrottle(max_gap_seconds)
        self.waiting = WaitingQueue()
        self.running: list[Sequence] = []
        self._sequences: dict[int, Sequence] = {}
        self._num_arrived = 0
        self._preempted: dict[int, int] = {}
        self._refused: dict[int, FinishReason] = {}
        self._clock = clock

    @property
    def speculates(self) -> bool:
        return self.speculation.is_on

    @property
    def has_work(self) -> bool:
        return bool(self._sequences or self._refused)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence. Raises ValueError if it would not even fit the cache alone."""
        self._tables.check_capacity(sequence)
        self._num_arrived += 1
        sequence.arrival = self._num_arrived
        self._sequences[sequence.seq_id] = sequence
        self.waiting.arrive(sequence)

    def refuse(self, seq_id: int) -> None:
        """Report an error in the next step for a sequence that was never added."""
        self._refused[seq_id] = FinishReason.ERROR

    def abort(self, seq_id: int, reason: FinishReason = FinishReason.ABORT) -> None:
        """Drop a sequence and free its blocks at once. Does nothing if it has already ended."""
        sequence = self._sequences.get(seq_id)
        if sequence is not None:
            sequence.finish_reason = reason
            self._remove(sequence)

    def schedule(self) -> ScheduledBatch:
        """Choose the tokens of the next step and allocate their blocks: first for running sequences, then waiting ones.

        Sequences that are owed a single token go first, so that no long prompt starves decoding. Before prompts are
        continued, a waiting one is admitted if its owner has been served less than the owners of all of those.
        """
        rows: dict[int, ScheduledRow] = {}
        self._preempted = {}
        admission = Admission(self._refused)
        self._refused = {}
        for seq_id in self.waiting.overdue(self._clock()):
            admission.ended[seq_id] = FinishReason.QUEUE_TIMEOUT
            self.abort(seq_id, FinishReason.QUEUE_TIMEOUT)
        self._retire()
        self._make_room()
        decoding = sorted([s for s in self.running if s.num_owed_tokens == 1], key=attrgetter("order"))
        prompts = sorted([s for s in self.running if s.num_owed_tokens > 1], key=self.waiting.turn)
        budget = self._throttle.limit(self.max_num_batched_tokens, len(decoding))
        left = self._advance(decoding, rows, budget)
        if prompts:
            left = self._admit(rows, left, admission, min(self.waiting.served(s.owner) for s in prompts))
            left = self._advance(prompts, rows, left)
        self._admit(rows, left, admission)
        self.speculation.propose(rows.values(), budget)
        for row in rows.values():
            row.advance()
        return ScheduledBatch.of(rows.values(), self._preempted, admission)

    def observe(self, batch: ScheduledBatch, seconds: float) -> None:
        """Learn from how many seconds the execution of a batch took."""
        if batch.num_prefill_tokens:
            self._throttle.observe(batch.num_prefill_tokens + batch.num_decode_tokens, seconds)

    def update(self, batch: ScheduledBatch, output: ModelOutput) -> StepOutput:
        """Append what was sampled to the sequences of the batch, and release those that have ended."""
        size, end = self.block_size, 0
        accepted: list[int] = []
        columns = Columns(batch, output)
        for row in batch.rows:
            sequence, begin, end = row.sequence, end, end + row.num_samples
            if sequence.finish_reason is not None:
                continue
            num_known_tokens, num_rejected = len(sequence.token_ids), 0
            if row.draft:
                accepted.append(self.speculation.verify(row, output.token_ids[begin:end]))
                num_rejected = len(row.draft) - accepted[-1]
            columns.take(sequence, begin, end - num_rejected)
            if sequence.num_computed_tokens // size > num_known_tokens // size:
                self._tables.publish(sequence, num_known_tokens, sequence.num_computed_tokens)
            if sequence.finish_reason is not None:
                self._remove(sequence)
        for owner, num_tokens in columns.num_tokens_of_owners.items():
            self.waiting.charge(owner, num_output_tokens=num_tokens)
        return columns.as_output(step_stats(batch, accepted, self.pool, len(self.running), len(self.waiting)))

    def _retire(self) -> None:
        """Release sequences that only wait for the id of their last token: they need neither blocks nor a place."""
        for sequence in [s for s in self.running if s.num_tokens == s.max_num_tokens]:
            self._leave(sequence, SequenceStatus.FINISHED)

    def _make_room(self) -> None:
        """Preempt others so that an owner with nothing running can begin at once; they keep half of their blocks."""
        newcomer = self.waiting.first_behind([])
        candidates = [] if newcomer is None else preemptible_for(self.running, newcomer)
        if newcomer is None or not candidates:
            return
        num_gained = sum(len(sequence.block_table) for sequence in candidates) // 2
        if not self._tables.fits(newcomer, self._tables.find_cached(newcomer), len(self.running) - num_gained):
            return
        while candidates and not self._can_begin(newcomer):
            self._preempt(candidates.pop())

    def _can_begin(self, sequence: Sequence) -> bool:
        found = self._tables.find_cached(sequence)
        return len(self.running) < self.max_num_seqs and self._tables.fits(sequence, found, len(self.running))

    def _advance(self, sequences: list[Sequence], rows: dict[int, ScheduledRow], budget: int) -> int:
        """Add rows for running sequences, in the order given. Returns what is left of the budget."""
        size, left = self.block_size, budget
        for sequence in sequences:
            if not left:
                break
            row = ScheduledRow.next_of(sequence, left)
            if row.end > size * len(sequence.block_table) and not self._grow(sequence, row.end, rows):
                continue
            if row.end // size > row.start // size:
                self._tables.publish(sequence, row.start, row.end)
            rows[sequence.seq_id] = row
            left -= row.end - row.start
        return left

    def _grow(self, sequence: Sequence, end: int, rows: dict[int, ScheduledRow]) -> bool:
        """Allocate the blocks that a sequence lacks. Returns False if it has been preempted, for itself or for another.

        Only sequences owed a single token can lack a block, because admission allocates everything that a prompt needs.
        If none is free, a sequence that has no row yet is preempted.
        """
        num_new_blocks = self._tables.num_lacking(sequence, end)
        while self.pool.num_free < num_new_blocks and sequence.status is SequenceStatus.RUNNING:
            self._preempt(last_in_turn(self.running, rows))
        if sequence.status is not SequenceStatus.RUNNING:
            return False
        self._tables.extend(sequence, num_new_blocks)
        return True

    def _admit(
        self, rows: dict[int, ScheduledRow], budget: int, admission: Admission, served_less_than: float = inf
    ) -> int:
        """Start waiting sequences while budget and blocks last, but only of owners served less than `served_less_than`.
        Returns what is left of the budget.

        The blocks for all known tokens are allocated at once, and one free block is left for each running sequence to
        grow into; a sequence admitted on less would soon be preempted again. Blocks are published on admission, so that
        equal prompts share them within the same step: the model writes a layer's keys before it reads any.
        """
        passed: list[Sequence] = []
        left = budget
        while left and len(self.running) < self.max_num_seqs and (sequence := self.waiting.first_behind(passed)):
            if self.waiting.served(sequence.owner) >= served_less_than:
                break
            found = self._tables.find_cached(sequence)
            if not self._tables.fits(sequence, found, len(self.running)):
                passed.append(sequence)
                continue
            for smaller_went_first in passed:
                smaller_went_first.times_passed += 1
            row = self._start(sequence, found, left)
            rows[sequence.seq_id] = row
            left -= row.num_tokens
            admission.count(row)
        has_place = len(self.running) < self.max_num_seqs
        admission.waiting_for = why_waiting(len(self.waiting), len(passed), has_place, has_budget=left > 0)
        return left

    def _start(self, sequence: Sequence, found: list[int], budget: int) -> ScheduledRow:
        self.waiting.remove(sequence)
        self._tables.fill(sequence, found)
        sequence.status = SequenceStatus.RUNNING
        self.running.append(sequence)
        row = ScheduledRow.next_of(sequence, budget)
        self._tables.publish(sequence, row.start, row.end)
        if sequence.num_cached_tokens is None:
            self.waiting.charge(sequence.owner, sequence.num_owed_tokens)
        return row

    def _preempt(self, sequence: Sequence) -> None:
        """Take a running sequence's blocks. It waits at its place in the order, and recomputes what is not cached."""
        self._leave(sequence, SequenceStatus.WAITING)
        self._preempted[sequence.seq_id] = sequence.num_computed_tokens
        sequence.num_lost_tokens, sequence.num_computed_tokens = sequence.num_computed_tokens, 0
        self.waiting.put(sequence)

    def _leave(self, sequence: Sequence, status: SequenceStatus) -> None:
        self.running.remove(sequence)
        self._tables.release(sequence)
        sequence.status = status

    def _remove(self, sequence: Sequence) -> None:
        """Forget a sequence that has ended, and free what it holds."""
        del self._sequences[sequence.seq_id]
        if sequence.status is SequenceStatus.RUNNING:
            self._leave(sequence, SequenceStatus.FINISHED)
        elif sequence.status is SequenceStatus.WAITING:
            self.waiting.remove(sequence)
            sequence.status = SequenceStatus.FINISHED
        if sequence.finish_reason is FinishReason.ERROR:
            self._tables.withdraw(sequence)
