"""A step's batch on the device, for decoders that run without waiting for the host."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from app.model.inputs import ForwardBatch
from app.model.transfer import to_device

LONG = 1024
"""How many tokens a prompt needs to be worth kernels of its own."""


@dataclass(frozen=True, slots=True)
class DeviceBatch:
    """A step's tokens, and its rows as int32, the decoding rows first. `lengths_q`: how many queries each row has.
    `block_tables` are laid end to end, `table_width` blocks each. `is_decode`: all tokens' logits are wanted, in order.

    `whole_prompts`: the tokens of rows that are long and have nothing in the cache before them, by row. `tiles` are
    made once for each number of queries to a tile, with and without those rows, not for each layer.
    A row of no tokens (`seq_lens` 0) attends to nothing; a token without a slot (`slot_mapping` below 0) is not stored.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    slot_mapping: torch.Tensor
    logits_indices: torch.Tensor
    cu_seqlens_q: torch.Tensor
    seq_lens: torch.Tensor
    table_width: torch.Tensor
    block_tables: torch.Tensor
    num_decode_rows: int
    lengths_q: tuple[int, ...]
    is_decode: bool = False
    whole_prompts: dict[int, slice] = field(default_factory=dict)
    tiles: dict[tuple[int, bool], torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: ForwardBatch) -> DeviceBatch:
        num_rows, width = batch.block_tables.shape
        packed = np.concatenate(
            ([width], batch.cu_seqlens_q, batch.seq_lens, batch.block_tables.ravel()), dtype=np.int32
        )
        sizes = [1, num_rows + 1, num_rows, num_rows * width]
        table_width, cu_seqlens_q, seq_lens, tables = to_device(packed, batch.device).split_with_sizes(sizes)
        lengths_q = np.diff(batch.cu_seqlens_q)
        is_whole = (lengths_q >= LONG) & (lengths_q == batch.seq_lens)
        return cls(
            input_ids=batch.input_ids,
            positions=batch.positions,
            slot_mapping=batch.slot_mapping,
            logits_indices=batch.logits_indices,
            cu_seqlens_q=cu_seqlens_q,
            seq_lens=seq_lens,
            table_width=table_width,
            block_tables=tables,
            num_decode_rows=batch.num_decode_rows,
            lengths_q=tuple(lengths_q.tolist()),
            is_decode=batch.is_decode,
            whole_prompts={
                row: slice(*batch.cu_seqlens_q[row : row + 2].tolist()) for row in np.flatnonzero(is_whole).tolist()
            },
        )

    def prefill_tiles(self, tile_q: int, without_whole: bool) -> torch.Tensor:
        """`[num_tiles, 2]` of the rows of several tokens, but for `whole_prompts` if that is said; the longest contexts
        come last in a row, and begin first."""
        key = tile_q, without_whole
        if key not in self.tiles:
            left_out = self.whole_prompts if without_whole else {}
            rows = (row for row in range(self.num_decode_rows, len(self.lengths_q)) if row not in left_out)
            tiles = [(row, first) for row in rows for first in reversed(range(0, self.lengths_q[row], tile_q))]
            array = np.array(tiles, dtype=np.int32).reshape(-1, 2)
            self.tiles[key] = to_device(array, self.seq_lens.device)
        return self.tiles[key]
