"""The statistics of a step: counts that are available anyway, so that reporting them costs next to nothing."""

from __future__ import annotations

from collections.abc import Sequence as Seq

from app.messages import StepStats, WaitReason
from app.scheduler.batch import ScheduledBatch
from app.scheduler.block_pool import BlockPool


def why_waiting(num_waiting: int, num_passed: int, has_place: bool, has_budget: bool) -> dict[WaitReason, int]:
    """Count the waiting sequences by what they lack once admission has ended.

    Those that were passed over lack blocks; those behind them lack what ended admission: places, budget or blocks.
    """
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
    """The statistics of a batch that has been computed, without its times, which the engine adds.

    `accepted` holds the number of accepted tokens of each draft.
    """
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
