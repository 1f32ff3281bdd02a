"""From a scheduled batch to the tensors of one forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from app.scheduler.batch import ScheduledBatch, ScheduledRow
from app.scheduler.sequence import Sequence


@dataclass(frozen=True, slots=True)
class ForwardBatch:
    """All tokens of a step laid end to end, sequences of one token first.

    `input_ids`, `positions`, `slot_mapping`: `[num_tokens]`. Row i covers tokens `cu_seqlens_q[i]` to
    `cu_seqlens_q[i + 1]` and attends to its first `seq_lens[i]` positions through `block_tables[i]`.
    `logits_indices`: the tokens whose logits are wanted, those to sample from first, prompt logprobs after.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    slot_mapping: torch.Tensor
    logits_indices: torch.Tensor
    num_decode_rows: int
    cu_seqlens_q: list[int]
    seq_lens: list[int]
    block_tables: list[np.ndarray]


def token_array(sequence: Sequence) -> np.ndarray:
    """The sequence's token ids, int32, without a copy; do not keep it past the step, for it pins the array's size."""
    return np.frombuffer(sequence.token_ids, dtype=np.int32)


def build_forward_batch(batch: ScheduledBatch, block_size: int, device: torch.device) -> ForwardBatch:
    num_tokens = sum(row.num_tokens for row in batch.rows)
    columns = np.empty((3, num_tokens), dtype=np.int64)
    cu_seqlens_q = [0]
    block_tables = []
    for row in batch.rows:
        begin, end = cu_seqlens_q[-1], cu_seqlens_q[-1] + row.num_tokens
        block_table = np.array(row.sequence.block_table, dtype=np.int64)
        columns[:, begin:end] = _row_columns(row, block_table, block_size)
        cu_seqlens_q.append(end)
        block_tables.append(block_table)
    input_ids, positions, slot_mapping = torch.from_numpy(columns).to(device, non_blocking=True)
    return ForwardBatch(
        input_ids=input_ids,
        positions=positions,
        slot_mapping=slot_mapping,
        logits_indices=torch.tensor(_logits_indices(batch.rows, cu_seqlens_q), dtype=torch.int64, device=device),
        num_decode_rows=sum(row.num_tokens == 1 for row in batch.rows),
        cu_seqlens_q=cu_seqlens_q,
        seq_lens=[row.end for row in batch.rows],
        block_tables=block_tables,
    )


def _row_columns(row: ScheduledRow, block_table: np.ndarray, block_size: int) -> np.ndarray:
    positions = np.arange(row.start, row.end)
    slots = block_table[positions // block_size] * block_size + positions % block_size
    return np.stack((token_array(row.sequence)[row.start : row.end], positions, slots))


def _logits_indices(rows: list[ScheduledRow], cu_seqlens_q: list[int]) -> list[int]:
    to_sample = [end - 1 for row, end in zip(rows, cu_seqlens_q[1:], strict=True) if row.samples]
    for_prompts = [
        begin + position - row.start
        for row, begin in zip(rows, cu_seqlens_q[:-1], strict=True)
        for position in row.prompt_logprob_positions
    ]
    return to_sample + for_prompts
