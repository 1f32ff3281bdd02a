"""Steps that between them ask for every kernel that any step may: what they have compiled, no request waits for.

Kernels differ by whether a product is of one row, a few or many, and by into how many shares attention divides keys: a
power of two, the smaller the more rows and tiles of queries there are. Numbers that double from step to step meet all.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from app.messages import SamplingParams
from app.model.graphs import OnDevice
from app.model.inputs import build_forward_batch
from app.model.memory import Limits
from app.scheduler.batch import Admission, ScheduledBatch, ScheduledRow
from app.scheduler.sequence import Sequence

GREEDY = SamplingParams(max_tokens=1, temperature=0.0)


@torch.inference_mode()
def compile_kernels(
    decoder: OnDevice, block_size: int, limits: Limits, device: torch.device, advance: Callable[[float], None]
) -> None:
    """Take them all; a cache of one block is enough. `advance` is told which share of them is done."""
    steps = every_kind_of_step(limits, block_size)
    for index, step in enumerate(steps):
        logits = decoder.forward(build_forward_batch(step, block_size, device))
        decoder.sample(logits, [sampled for row in step.rows for sampled in row.sampled])
        advance((index + 1) / len(steps))


def every_kind_of_step(limits: Limits, block_size: int) -> list[ScheduledBatch]:
    """First decoding rows, then pieces of prompts, of two tokens each as long as there may be more of them, up to the
    most tiles that a step can have; at last whole prompts beside others, which may be attended to in another way."""
    decoding = [[1] * num_rows for num_rows in doubling(1, limits.max_num_seqs)]
    most = min(limits.max_num_batched_tokens, limits.max_num_seqs * limits.length)
    prompts = [share_out(num_tokens, limits) for num_tokens in doubling(2, most)]
    steps = [_step_of(lengths, limits.length, block_size) for lengths in (*decoding, *prompts)]
    steps += [_step_of(lengths, max(lengths), block_size) for lengths in prompts[-1:]]
    return steps


def doubling(least: int, most: int) -> list[int]:
    """From `least` to `most`, both included if there are any."""
    numbers = [least << power for power in range(most.bit_length())]
    return sorted({number for number in numbers if number < most} | {most}) if least <= most else []


def share_out(num_tokens: int, limits: Limits) -> list[int]:
    """Tokens of as many prompts as there may be: two each, and the rest to the last ones, as far as sequences go."""
    lengths = []
    for num_others in reversed(range(min(limits.max_num_seqs, num_tokens // 2))):
        lengths.append(min(limits.length, num_tokens - 2 * num_others))
        num_tokens -= lengths[-1]
    return lengths[::-1]


def _step_of(lengths: list[int], limit: int, block_size: int) -> ScheduledBatch:
    """Behind another token each, if that makes no more than `limit`."""
    rows = [row_of(num_tokens, min(num_tokens + 1, limit), block_size) for num_tokens in lengths]
    return ScheduledBatch.of(rows, {}, Admission())


def row_of(
    num_tokens: int, end: int, block_size: int, seq_id: int = 0, params: SamplingParams = GREEDY
) -> ScheduledRow:
    """So many tokens up to `end`, all of whose blocks are block 0."""
    sequence = Sequence(seq_id, [0] * end, params)
    sequence.block_table.extend([0] * -(-end // block_size))
    sequence.num_computed_tokens = end - num_tokens
    return ScheduledRow.next_of(sequence, num_tokens)
