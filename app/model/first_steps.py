"""Warm-up batches that together trigger every kernel variant, so that no request waits for a compile.

Variants differ in whether a product has one row, a few or many, and in the number of splits that attention divides the
keys into: a power of two that shrinks as rows and tiles of queries grow. Sizes that double from step to step meet all.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from app.messages import SamplingParams
from app.model.graphs import OnDevice
from app.model.inputs import build_forward_batch
from app.model.memory import StepLimits
from app.scheduler.batch import Admission, ScheduledBatch, ScheduledRow
from app.scheduler.sequence import Sequence

GREEDY = SamplingParams(max_tokens=1, temperature=0.0)


@torch.inference_mode()
def compile_kernels(
    decoder: OnDevice, block_size: int, limits: StepLimits, device: torch.device, advance: Callable[[float], None]
) -> None:
    """Run them all; a cache of one block is enough. `advance` receives which share of them is done (0 to 1)."""
    steps = every_kind_of_step(limits, block_size)
    for index, step in enumerate(steps):
        logits = decoder.forward(build_forward_batch(step, block_size, device))
        decoder.sample(logits, [sampled for row in step.rows for sampled in row.sampled])
        advance((index + 1) / len(steps))


def every_kind_of_step(limits: StepLimits, block_size: int) -> list[ScheduledBatch]:
    """First decode rows, then chunks of prompts, of two tokens each as long as there may be more rows, up to the most
    tiles that a step can have; last, whole prompts beside others, for which attention may take another path."""
    decoding = [[1] * num_rows for num_rows in doubling(1, limits.max_num_seqs)]
    most = min(limits.max_num_batched_tokens, limits.max_num_seqs * limits.length)
    prompts = [share_out(num_tokens, limits) for num_tokens in doubling(2, most)]
    steps = [_step_of(lengths, limits.length, block_size) for lengths in (*decoding, *prompts)]
    steps += [_step_of(lengths, max(lengths), block_size) for lengths in prompts[-1:]]
    return steps


def doubling(least: int, most: int) -> list[int]:
    """Powers of two times `least`, up to and including `most`; empty if `least` is larger."""
    numbers = [least << power for power in range(most.bit_length())]
    return sorted({number for number in numbers if number < most} | {most}) if least <= most else []


def share_out(num_tokens: int, limits: StepLimits) -> list[int]:
    """Spread tokens over as many prompts as allowed: two each, and the rest to the last ones, up to their limit."""
    lengths = []
    for num_others in reversed(range(min(limits.max_num_seqs, num_tokens // 2))):
        lengths.append(min(limits.length, num_tokens - 2 * num_others))
        num_tokens -= lengths[-1]
    return lengths[::-1]


def _step_of(lengths: list[int], limit: int, block_size: int) -> ScheduledBatch:
    """Rows of these lengths, each after one computed token where `limit` leaves space for it."""
    rows = [row_of(num_tokens, min(num_tokens + 1, limit), block_size) for num_tokens in lengths]
    return ScheduledBatch.of(rows, {}, Admission())


def row_of(
    num_tokens: int, end: int, block_size: int, seq_id: int = 0, params: SamplingParams = GREEDY
) -> ScheduledRow:
    """A row of `num_tokens` that ends at position `end`; all of its blocks are block 0."""
    sequence = Sequence(seq_id, [0] * end, params)
    sequence.block_table.extend([0] * -(-end // block_size))
    sequence.num_computed_tokens = end - num_tokens
    return ScheduledRow.next_of(sequence, num_tokens)
