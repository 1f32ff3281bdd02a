"""From a scheduled batch to the tensors of one forward pass."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch

from app.model.transfer import to_device
from app.scheduler.batch import ScheduledBatch, ScheduledRow


@dataclass(frozen=True, slots=True)
class ForwardBatch:
    """All tokens of a step laid end to end, rows of one token first.

    `input_ids`, `positions`, `slot_mapping`: `[num_tokens]`. Row i covers tokens `cu_seqlens_q[i]` to
    `cu_seqlens_q[i + 1]` and attends to its first `seq_lens[i]` positions through `block_tables[i]`, int64 and padded
    with zeros. A token that is unknown to the host stands as 0 in `input_ids` (see `app.model.carried`).
    `logits_indices`: the tokens whose logits are wanted, those to sample from first, prompt logprobs after.
    `is_decode`: every row is one token, and they are what is wanted, in their order.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    slot_mapping: torch.Tensor
    logits_indices: torch.Tensor
    num_decode_rows: int
    cu_seqlens_q: list[int]
    seq_lens: list[int]
    block_tables: np.ndarray
    is_decode: bool


def as_numpy(token_ids: array[int]) -> np.ndarray:
    """A sequence's int32 token ids without a copy; do not keep it past the step, for it pins the array's size."""
    return np.frombuffer(token_ids, dtype=np.int32)


def build_forward_batch(batch: ScheduledBatch, block_size: int, device: torch.device) -> ForwardBatch:
    rows = batch.rows
    cu_seqlens_q = list(accumulate((row.num_tokens for row in rows), initial=0))
    block_tables = np.zeros((len(rows), max(len(row.sequence.block_table) for row in rows)), dtype=np.int64)
    columns = np.empty((3, cu_seqlens_q[-1]), dtype=np.int64)
    num_decode_rows = sum(row.num_tokens == 1 for row in rows)
    for index, row in enumerate(rows):
        table = row.sequence.block_table
        block_tables[index, : len(table)] = np.frombuffer(table, dtype=np.int32)
    columns[:, :num_decode_rows] = np.transpose([_decode_column(row, block_size) for row in rows[:num_decode_rows]])
    for index in range(num_decode_rows, len(rows)):
        tokens = slice(cu_seqlens_q[index], cu_seqlens_q[index + 1])
        columns[:, tokens] = _prefill_columns(rows[index], block_tables[index], block_size)
    logits_indices = _logits_indices(rows, cu_seqlens_q)
    input_ids, positions, slot_mapping = to_device(columns, device).unbind()
    return ForwardBatch(
        input_ids=input_ids,
        positions=positions,
        slot_mapping=slot_mapping,
        logits_indices=to_device(np.array(logits_indices, dtype=np.int64), device),
        num_decode_rows=num_decode_rows,
        cu_seqlens_q=cu_seqlens_q,
        seq_lens=[row.end for row in rows],
        block_tables=block_tables,
        is_decode=logits_indices == list(range(len(rows))) and num_decode_rows == len(rows),
    )


def _decode_column(row: ScheduledRow, block_size: int) -> tuple[int, int, int]:
    """Token, position and slot of a row of one token; plain integers, which for one are faster than arrays."""
    block, offset = divmod(row.start, block_size)
    token_id = 0 if row.ends_unknown else row.sequence.token_ids[row.start]
    return token_id, row.start, row.sequence.block_table[block] * block_size + offset


def _prefill_columns(row: ScheduledRow, block_table: np.ndarray, block_size: int) -> np.ndarray:
    positions = np.arange(row.start, row.end)
    slots = block_table[positions // block_size] * block_size + positions % block_size
    known = as_numpy(row.sequence.token_ids)[row.start : row.end]
    behind = np.array([0] if row.ends_unknown else row.draft, dtype=np.int32)
    return np.stack((np.concatenate((known, behind)), positions, slots))


def _logits_indices(rows: list[ScheduledRow], cu_seqlens_q: list[int]) -> list[int]:
    to_sample = [
        index for row, end in zip(rows, cu_seqlens_q[1:], strict=True) for index in range(end - row.num_samples, end)
    ]
    for_prompts = [
        begin + position - row.start
        for row, begin in zip(rows, cu_seqlens_q[:-1], strict=True)
        for position in row.prompt_logprob_positions
    ]
    return to_sample + for_prompts
