"""Turns a scheduled batch into the tensors of one forward pass."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch

from app.model.in_flight import InFlightTokens, Unknown
from app.model.transfer import to_device
from app.scheduler.batch import ScheduledBatch, ScheduledRow


@dataclass(frozen=True)
class ForwardBatch:
    """All tokens of a step, end to end, rows of one token first: on the host, and on the device once they are used.

    `packed`, int64: all tokens, then their positions, then their slots (`columns`), then which tokens' logits are
    wanted, those to sample from first, prompt logprobs after. Row i covers tokens `cu_seqlens_q[i]` to
    `cu_seqlens_q[i + 1]` and attends to its first `seq_lens[i]` positions through `block_tables[i]`, padded with
    zeros; these three are int32. A token that the host does not know is 0 there, and one of `unknown`.
    `is_decode`: every row is one token, and the logits of all of them are wanted, in order.
    """

    packed: np.ndarray
    num_decode_rows: int
    cu_seqlens_q: np.ndarray
    seq_lens: np.ndarray
    block_tables: np.ndarray
    is_decode: bool
    device: torch.device
    unknown: Unknown | None = None

    @property
    def columns(self) -> np.ndarray:
        """`[3, num_tokens]`"""
        num_tokens = int(self.cu_seqlens_q[-1])
        return self.packed[: 3 * num_tokens].reshape(3, num_tokens)

    @cached_property
    def _on_device(self) -> tuple[torch.Tensor, ...]:
        num_tokens = int(self.cu_seqlens_q[-1])
        sizes = [num_tokens, num_tokens, num_tokens, len(self.packed) - 3 * num_tokens]
        tensors = to_device(self.packed, self.device).split_with_sizes(sizes)
        if self.unknown is not None:
            self.unknown.fill(tensors[0])
        return tensors

    @property
    def input_ids(self) -> torch.Tensor:
        """`[num_tokens]`, as the next three"""
        return self._on_device[0]

    @property
    def positions(self) -> torch.Tensor:
        return self._on_device[1]

    @property
    def slot_mapping(self) -> torch.Tensor:
        return self._on_device[2]

    @property
    def logits_indices(self) -> torch.Tensor:
        """`[num_logits]`"""
        return self._on_device[3]


def as_numpy(token_ids: array[int]) -> np.ndarray:
    """A sequence's int32 token ids without a copy. Do not keep it past the step: it keeps the array from growing."""
    return np.frombuffer(token_ids, dtype=np.int32)


def build_forward_batch(
    batch: ScheduledBatch, block_size: int, device: torch.device, in_flight: InFlightTokens | None = None
) -> ForwardBatch:
    """`in_flight`: what the previous step sampled, where that step may still be running."""
    rows = batch.rows
    lengths_q = [row.end - row.start for row in rows]
    cu_seqlens_q = [0, *accumulate(lengths_q)]
    num_decode_rows = lengths_q.count(1)
    is_decode = num_decode_rows == len(rows) == sum([row.num_samples for row in rows])
    block_tables = _block_tables(rows)
    logits_indices = np.arange(len(rows)) if is_decode else _logits_indices(rows, cu_seqlens_q)
    num_tokens, num_logits = cu_seqlens_q[-1], len(logits_indices)
    packed = np.empty(3 * num_tokens + num_logits, dtype=np.int64)
    packed[3 * num_tokens :] = logits_indices
    columns = packed[: 3 * num_tokens].reshape(3, num_tokens)
    columns[:, :num_decode_rows] = _decode_columns(rows[:num_decode_rows], block_size)
    if num_decode_rows < len(rows):
        columns[:, num_decode_rows:] = _columns(rows[num_decode_rows:], block_tables[num_decode_rows:], block_size)
    return ForwardBatch(
        packed=packed,
        num_decode_rows=num_decode_rows,
        cu_seqlens_q=np.array(cu_seqlens_q, dtype=np.int32),
        seq_lens=np.array([row.end for row in rows], dtype=np.int32),
        block_tables=block_tables,
        is_decode=is_decode,
        device=device,
        unknown=None if in_flight is None else in_flight.find_unknown(rows, cu_seqlens_q),
    )


def _block_tables(rows: list[ScheduledRow]) -> np.ndarray:
    """Written through a memoryview, which copies arrays ten times as fast as numpy's assignment."""
    tables = [row.sequence.block_table for row in rows]
    width = max(map(len, tables))
    padded = np.zeros(len(rows) * width, dtype=np.int32)
    flat = padded.data
    for begin, table in zip(range(0, len(padded), width), tables, strict=True):
        flat[begin : begin + len(table)] = table
    return padded.reshape(-1, width)


def _decode_columns(rows: list[ScheduledRow], block_size: int) -> list[list[int]]:
    """Token, position and slot of rows of one token; as lists, which for few numbers are faster than arrays."""
    starts = [row.start for row in rows]
    token_ids = [0 if row.ends_unknown else row.sequence.token_ids[row.start] for row in rows]
    tables = [row.sequence.block_table for row in rows]
    slots = [
        table[start // block_size] * block_size + start % block_size
        for table, start in zip(tables, starts, strict=True)
    ]
    return [token_ids, starts, slots]


def _columns(rows: list[ScheduledRow], block_tables: np.ndarray, block_size: int) -> np.ndarray:
    """The same for rows of several tokens: prompts or drafts."""
    token_ids = array("i")
    for row in rows:
        token_ids += row.sequence.token_ids[row.start : row.end]
        token_ids.extend((0,) if row.ends_unknown else row.draft)
    starts, lengths = np.array([(row.start, row.end - row.start) for row in rows]).T
    before = lengths.cumsum() - lengths
    positions = np.arange(len(token_ids)) + (starts - before).repeat(lengths)
    tables = np.arange(len(rows)).repeat(lengths)
    slots = block_tables[tables, positions // block_size] * block_size + positions % block_size
    return np.stack((as_numpy(token_ids), positions, slots))


def _logits_indices(rows: list[ScheduledRow], cu_seqlens_q: list[int]) -> np.ndarray:
    to_sample = [
        index for row, end in zip(rows, cu_seqlens_q[1:], strict=True) for index in range(end - row.num_samples, end)
    ]
    for_prompts = [
        begin + position - row.start
        for row, begin in zip(rows, cu_seqlens_q[:-1], strict=True)
        for position in row.prompt_logprob_positions
    ]
    return np.array(to_sample + for_prompts, dtype=np.int64)
