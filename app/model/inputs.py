"""From a scheduled batch to the tensors of one forward pass."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
import torch

from app.model.transfer import to_device
from app.scheduler.batch import ScheduledBatch, ScheduledRow


@dataclass(frozen=True, slots=True)
class ForwardBatch:
    """All tokens of a step laid end to end, rows of one token first.

    `input_ids`, `positions`, `slot_mapping`: `[num_tokens]`. Row i covers tokens `cu_seqlens_q[i]` to
    `cu_seqlens_q[i + 1]` and attends to its first `seq_lens[i]` positions through `block_tables[i]`, padded with
    zeros; these three are int32. A token that the host does not know is 0 in `input_ids` (see `app.model.carried`).
    `logits_indices`: the tokens whose logits are wanted, those to sample from first, prompt logprobs after.
    `is_decode`: every row is one token, and they are what is wanted, in their order.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    slot_mapping: torch.Tensor
    logits_indices: torch.Tensor
    num_decode_rows: int
    cu_seqlens_q: np.ndarray
    seq_lens: np.ndarray
    block_tables: np.ndarray
    is_decode: bool


def as_numpy(token_ids: array[int]) -> np.ndarray:
    """A sequence's int32 token ids without a copy; do not keep it past the step, for it pins the array's size."""
    return np.frombuffer(token_ids, dtype=np.int32)


def build_forward_batch(batch: ScheduledBatch, block_size: int, device: torch.device) -> ForwardBatch:
    rows = batch.rows
    starts, seq_lens, num_samples = np.array(
        [[row.start for row in rows], [row.end for row in rows], [row.num_samples for row in rows]], dtype=np.int32
    )
    lengths_q = seq_lens - starts
    cu_seqlens_q = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum(lengths_q, out=cu_seqlens_q[1:])
    block_tables = _block_tables(rows)
    columns = np.empty((3, cu_seqlens_q[-1]), dtype=np.int64)
    columns[0] = _token_ids(rows, cu_seqlens_q.tolist())
    columns[1] = positions = _ranges(starts, lengths_q)
    blocks = block_tables[np.repeat(np.arange(len(rows)), lengths_q), positions // block_size]
    columns[2] = blocks * block_size + positions % block_size
    to_sample = _ranges(cu_seqlens_q[1:] - num_samples, num_samples)
    for_prompts = [
        begin + position - row.start
        for row, begin in zip(rows, cu_seqlens_q.tolist(), strict=False)
        for position in row.prompt_logprob_positions
    ]
    input_ids, positions_on_device, slot_mapping = to_device(columns, device).unbind()
    num_decode_rows = int(np.count_nonzero(lengths_q == 1))
    return ForwardBatch(
        input_ids=input_ids,
        positions=positions_on_device,
        slot_mapping=slot_mapping,
        logits_indices=to_device(np.concatenate((to_sample, np.array(for_prompts, dtype=np.int64))), device),
        num_decode_rows=num_decode_rows,
        cu_seqlens_q=cu_seqlens_q,
        seq_lens=seq_lens,
        block_tables=block_tables,
        is_decode=num_decode_rows == len(to_sample) == len(rows),
    )


def _block_tables(rows: list[ScheduledRow]) -> np.ndarray:
    """Written through a memoryview, which takes arrays ten times faster than numpy's assignment does."""
    tables = [row.sequence.block_table for row in rows]
    width = max(map(len, tables))
    padded = np.zeros((len(rows), width), dtype=np.int32)
    flat = padded.ravel().data
    for begin, table in zip(range(0, len(flat), width), tables, strict=True):
        flat[begin : begin + len(table)] = table
    return padded


def _token_ids(rows: list[ScheduledRow], begins: list[int]) -> np.ndarray:
    token_ids = np.zeros(begins[-1], dtype=np.int32)
    flat = token_ids.data
    for row, begin in zip(rows, begins[:-1], strict=True):
        known = row.sequence.token_ids[row.start : row.end]
        if row.draft:
            known.extend(row.draft)
        flat[begin : begin + len(known)] = known
    return token_ids


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """From each start so many whole numbers, end to end."""
    ends = np.cumsum(lengths)
    numbers: np.ndarray = np.arange(ends[-1]) + np.repeat(starts - ends + lengths, lengths)
    return numbers
