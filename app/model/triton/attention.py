"""The `triton` backend: paged attention of a step by the kernels beside this file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import triton

from app.model.inputs import ForwardBatch
from app.model.kv_cache import KVCache
from app.model.triton.kernels import attend_kernel, merge_kernel, write_kernel
from app.model.triton.tiling import Tiling, decode_splits, tiling_of

SMALLEST_TILE = 16
"""What the matrix units take at least."""


@dataclass(frozen=True, slots=True)
class DeviceBatch:
    """What the kernels must know of a step's rows, on the device: int32, the decoding rows first.

    `tiles(n)` is made once for each number n of queries to a tile, not for each layer.
    """

    slot_mapping: torch.Tensor
    cu_seqlens_q: torch.Tensor
    seq_lens: torch.Tensor
    block_tables: torch.Tensor
    num_decode_rows: int
    _lengths_q: tuple[int, ...]
    _tiles: dict[int, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: ForwardBatch) -> DeviceBatch:
        """One copy to the device for everything."""
        num_rows, width = batch.block_tables.shape
        packed = np.concatenate((batch.cu_seqlens_q, batch.seq_lens, batch.block_tables.ravel()), dtype=np.int32)
        on_device = torch.from_numpy(packed).to(batch.slot_mapping.device, non_blocking=True)
        cu_seqlens_q, seq_lens, tables = torch.split(on_device, [num_rows + 1, num_rows, num_rows * width])
        return cls(
            slot_mapping=batch.slot_mapping,
            cu_seqlens_q=cu_seqlens_q,
            seq_lens=seq_lens,
            block_tables=tables.view(num_rows, width),
            num_decode_rows=batch.num_decode_rows,
            _lengths_q=tuple(np.diff(batch.cu_seqlens_q).tolist()),
        )

    def decode_tiles(self) -> torch.Tensor:
        """`[num_decode_rows, 2]`: a tile is a row of one query."""
        return self._made(0, [(row, 0) for row in range(self.num_decode_rows)])

    def prefill_tiles(self, tile_q: int) -> torch.Tensor:
        """`[num_tiles, 2]` of the rows behind those; the longest contexts come last in a row, and begin first."""
        rows = range(self.num_decode_rows, len(self._lengths_q))
        tiles = [(row, first) for row in rows for first in reversed(range(0, self._lengths_q[row], tile_q))]
        return self._made(tile_q, tiles)

    def _made(self, key: int, tiles: list[tuple[int, int]]) -> torch.Tensor:
        if key not in self._tiles:
            made = torch.tensor(tiles, dtype=torch.int32).view(-1, 2)
            self._tiles[key] = made.to(self.seq_lens.device, non_blocking=True)
        return self._tiles[key]


class TritonAttention:
    """Attention of one step, as `app.model.attention` describes it."""

    def __init__(self, batch: DeviceBatch, cache: KVCache) -> None:
        self._batch = batch
        self._cache = cache

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        s_aux: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        layer: int = module.layer_idx  # type: ignore[assignment]
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        write(key[0].transpose(0, 1), value[0].transpose(0, 1), keys, values, self._batch.slot_mapping)
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        options = Options(scale, softcap, sliding_window, s_aux)
        return attend(query[0].transpose(0, 1), keys, values, self._batch, options)[None]


@dataclass(frozen=True, slots=True)
class Options:
    """How scores become weights; `sinks`: `[num_heads]`."""

    scale: float
    softcap: float | None = None
    window: int | None = None
    sinks: torch.Tensor | None = None


def write(
    new_keys: torch.Tensor,
    new_values: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    slot_mapping: torch.Tensor,
) -> None:
    """Store `[num_tokens, num_kv_heads, size]` keys and values in the slots of one layer's cache; < 0 is no slot."""
    num_kv_heads, key_size = keys.shape[2:]
    write_kernel[(new_keys.shape[0],)](
        new_keys,
        new_values,
        keys,
        values,
        slot_mapping,
        *new_keys.stride()[:2],
        *new_values.stride()[:2],
        NUM_KV_HEADS=num_kv_heads,
        KEY_SIZE=key_size,
        VALUE_SIZE=values.shape[3],
        HEADS_PADDED=triton.next_power_of_2(num_kv_heads),
        KEY_PADDED=triton.next_power_of_2(key_size),
        VALUE_PADDED=triton.next_power_of_2(values.shape[3]),
    )


def attend(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, batch: DeviceBatch, options: Options
) -> torch.Tensor:
    """Attention of `[num_tokens, num_heads, key_size]` queries over one layer's cache, their own keys included.

    Returns `[num_tokens, num_heads, value_size]`.
    """
    num_tokens, num_heads, key_size = query.shape
    output = query.new_empty(num_tokens, num_heads, values.shape[3])
    group = num_heads // keys.shape[2]
    if batch.num_decode_rows:
        tiling = tiling_of("decode", group, key_size)
        num_splits = decode_splits(batch.num_decode_rows * keys.shape[2], query.device)
        _attend_split(query, keys, values, output, batch, options, tiling, num_splits)
    if batch.num_decode_rows < len(batch.seq_lens):
        tiling = tiling_of("prefill", group, key_size)
        tiles = batch.prefill_tiles(tiling.tile_q)
        _launch(query, keys, values, output, None, batch, options, tiling, tiles, 1)
    return output


def _attend_split(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    output: torch.Tensor,
    batch: DeviceBatch,
    options: Options,
    tiling: Tiling,
    num_splits: int,
) -> None:
    """The decoding rows, each tile's keys in `num_splits` shares."""
    tiles = batch.decode_tiles()
    if num_splits == 1:
        _launch(query, keys, values, output, None, batch, options, tiling, tiles, 1)
        return
    num_tokens, num_heads, value_size = batch.num_decode_rows, output.shape[1], output.shape[2]
    partial = output.new_empty((num_splits, num_tokens, num_heads, value_size), dtype=torch.float32)
    statistics = output.new_empty((num_splits, num_tokens, num_heads, 2), dtype=torch.float32)
    _launch(query, keys, values, partial, statistics, batch, options, tiling, tiles, num_splits)
    merge_kernel[(num_tokens, num_heads)](
        partial,
        statistics,
        output,
        options.sinks,
        num_tokens,
        NUM_HEADS=num_heads,
        VALUE_SIZE=value_size,
        VALUE_PADDED=triton.next_power_of_2(value_size),
        NUM_SPLITS=num_splits,
        SPLITS_PADDED=triton.next_power_of_2(num_splits),
        HAS_SINKS=options.sinks is not None,
    )


def _launch(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    output: torch.Tensor,
    statistics: torch.Tensor | None,
    batch: DeviceBatch,
    options: Options,
    tiling: Tiling,
    tiles: torch.Tensor,
    num_splits: int,
) -> None:
    num_heads, key_size = query.shape[1:]
    num_kv_heads, value_size = keys.shape[2], values.shape[3]
    attend_kernel[(len(tiles), num_kv_heads, num_splits)](
        query,
        keys,
        values,
        output,
        statistics,
        options.sinks,
        tiles,
        batch.cu_seqlens_q,
        batch.seq_lens,
        batch.block_tables,
        options.scale,
        options.softcap or 0.0,
        options.window or 0,
        batch.block_tables.stride(0),
        batch.num_decode_rows,
        query.stride(0),
        query.stride(1),
        NUM_HEADS=num_heads,
        GROUP=num_heads // num_kv_heads,
        KEY_SIZE=key_size,
        VALUE_SIZE=value_size,
        KEY_PADDED=max(SMALLEST_TILE, triton.next_power_of_2(key_size)),
        VALUE_PADDED=max(SMALLEST_TILE, triton.next_power_of_2(value_size)),
        BLOCK_SIZE=keys.shape[1],
        TILE_Q=tiling.tile_q,
        TILE_M=tiling.tile_m,
        TILE_N=tiling.tile_n,
        NUM_SPLITS=num_splits,
        HAS_SINKS=options.sinks is not None,
        HAS_SOFTCAP=options.softcap is not None,
        HAS_WINDOW=options.window is not None,
        # TF32 would round float32 to 10 bits.
        PRECISION="ieee" if query.dtype == torch.float32 else "tf32",
        num_warps=tiling.num_warps,
        num_stages=tiling.num_stages,
    )
