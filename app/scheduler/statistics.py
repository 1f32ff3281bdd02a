"""What is told of a step: counts that lie at hand, so that telling costs a step next to nothing."""

from __future__ import annotations

from collections.abc import Sequence as Seq

from app.messages import StepStats, WaitReason
from app.scheduler.batch import ScheduledBatch
from app.scheduler.block_pool import BlockPool


def why_waiting(num_waiting: int, num_passed: int, has_place: bool, has_budget: bool) -> dict[WaitReason, int]:
    """Why they wait once admission has ended: those passed lack blocks, those behind them what it ended for."""
    if not num_waiting:
        return {}
    rest = _ended_for(has_place, has_budget)
    counts = {WaitReason.BLOCKS: num_passed}
    counts[rest] = counts.get(rest, 0) + num_waiting - num_passed
    return {reason: count for reason, count in counts.items() if count}


def _ended_for(has_place: bool, has_budget: bool) -> WaitReason:
    if not has_place:
        return WaitReason.MAX_NUM_SEQS
    return WaitReason.BLOCKS if has_budget else WaitReason.BUDGET


def step_stats(
    batch: ScheduledBatch, accepted: Seq[int], pool: BlockPool, num_running: int, num_waiting: int
) -> StepStats:
    """`accepted` has the number of right guesses of each draft. Times are the engine's to add."""
    admission = batch.admission
    longest = max(accepted, default=0)
    return StepStats(
        num_drafts=len(accepted),
        num_draft_tokens=sum(len(row.draft) for row in batch.rows) if accepted else 0,
        num_accepted_per_position=tuple(sum(count > i for count in accepted) for i in range(longest)),
        num_running=num_running,
        num_waiting=num_waiting,
        num_free_blocks=pool.num_free,
        num_blocks=pool.num_blocks,
        num_shared_blocks=pool.num_shared,
        num_cached_blocks=pool.num_cached,
        num_prefill_tokens=batch.num_prefill_tokens,
        num_decode_tokens=batch.num_decode_tokens,
        num_prefix_queried=admission.num_queried,
        num_prefix_hits=sum(admission.admitted.values()),
        num_preempted=len(batch.preempted),
        num_lost=sum(batch.preempted.values()),
        num_recomputed=admission.num_recomputed,
        waiting_for=admission.waiting_for,
    )
