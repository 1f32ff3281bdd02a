"""What the kernels must know of a step, on the device."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from app.model.inputs import ForwardBatch
from app.model.transfer import to_device

DECODE = 0


@dataclass(frozen=True, slots=True)
class DeviceBatch:
    """A step's tokens, and its rows as int32, the decoding rows first. `lengths_q`: how many queries each row has.

    `tiles` are made once for each number of queries to a tile (`DECODE` for the decoding rows), not for each layer.
    A row of no tokens (`seq_lens` 0) attends to nothing; a token without a slot (`slot_mapping` below 0) is not stored.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    slot_mapping: torch.Tensor
    logits_indices: torch.Tensor
    cu_seqlens_q: torch.Tensor
    seq_lens: torch.Tensor
    block_tables: torch.Tensor
    num_decode_rows: int
    lengths_q: tuple[int, ...]
    tiles: dict[int, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: ForwardBatch) -> DeviceBatch:
        """One copy to the device for everything."""
        num_rows, width = batch.block_tables.shape
        packed = np.concatenate((batch.cu_seqlens_q, batch.seq_lens, batch.block_tables.ravel()), dtype=np.int32)
        on_device = to_device(packed, batch.slot_mapping.device)
        cu_seqlens_q, seq_lens, tables = torch.split(on_device, [num_rows + 1, num_rows, num_rows * width])
        return cls(
            input_ids=batch.input_ids,
            positions=batch.positions,
            slot_mapping=batch.slot_mapping,
            logits_indices=batch.logits_indices,
            cu_seqlens_q=cu_seqlens_q,
            seq_lens=seq_lens,
            block_tables=tables.view(num_rows, width),
            num_decode_rows=batch.num_decode_rows,
            lengths_q=tuple(np.diff(batch.cu_seqlens_q).tolist()),
        )

    def decode_tiles(self) -> torch.Tensor:
        """`[num_decode_rows, 2]`: a tile is a row of one query."""
        return self._made(DECODE, [(row, 0) for row in range(self.num_decode_rows)])

    def prefill_tiles(self, tile_q: int) -> torch.Tensor:
        """`[num_tiles, 2]` of the rows behind those; the longest contexts come last in a row, and begin first."""
        rows = range(self.num_decode_rows, len(self.lengths_q))
        tiles = [(row, first) for row in rows for first in reversed(range(0, self.lengths_q[row], tile_q))]
        return self._made(tile_q, tiles)

    def _made(self, key: int, tiles: list[tuple[int, int]]) -> torch.Tensor:
        if key not in self.tiles:
            self.tiles[key] = to_device(np.array(tiles, dtype=np.int32).reshape(-1, 2), self.seq_lens.device)
        return self.tiles[key]
