"""The `triton` backend: paged attention of a step by the kernels beside this file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import triton

from app.model.device_batch import DeviceBatch
from app.model.kv_cache import KVCache
from app.model.triton.kernels import attend_kernel
from app.model.triton.launch import launch_options
from app.model.triton.small_kernels import write_kernel
from app.model.triton.split_kv import Splits
from app.model.triton.tiling import (
    Heads,
    Kind,
    Tiling,
    decode_kind,
    decode_splits,
    prefill_splits,
    shared_memory_of,
    tiling_of,
)


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
        softcap: float | None = None,
        s_aux: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        layer: int = module.layer_idx  # type: ignore[assignment]
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        new = NewTokens(key[0].transpose(0, 1), value[0].transpose(0, 1))
        write(new, keys, values, self._batch.slot_mapping)
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        options = Options(scale, softcap, self._cache.layers[layer].window, s_aux)
        return attend(query[0].transpose(0, 1), new, keys, values, self._batch, options)[None]


@dataclass(frozen=True, slots=True)
class Options:
    """How scores become weights; `sinks`: `[num_heads]`."""

    scale: float
    softcap: float | None = None
    window: int | None = None
    sinks: torch.Tensor | None = None

    @property
    def is_plain(self) -> bool:
        return self.softcap is None and self.window is None and self.sinks is None


@dataclass(frozen=True, slots=True)
class NewTokens:
    """Keys and values of a step's own tokens, `[num_tokens, num_kv_heads, size]`, any strides but 1 in the last."""

    keys: torch.Tensor
    values: torch.Tensor


def write(new: NewTokens, keys: torch.Tensor, values: torch.Tensor, slot_mapping: torch.Tensor) -> None:
    """Store keys and values in their slots of one layer's cache; a negative slot stores nothing."""
    num_kv_heads, key_size = keys.shape[2:]
    write_kernel[(len(new.keys),)](
        new.keys,
        new.values,
        keys,
        values,
        slot_mapping,
        *new.keys.stride()[:2],
        *new.values.stride()[:2],
        NUM_KV_HEADS=num_kv_heads,
        KEY_SIZE=key_size,
        VALUE_SIZE=values.shape[3],
        HEADS_PADDED=triton.next_power_of_2(num_kv_heads),
        KEY_PADDED=triton.next_power_of_2(key_size),
        VALUE_PADDED=triton.next_power_of_2(values.shape[3]),
    )


def attend(
    query: torch.Tensor,
    new: NewTokens,
    keys: torch.Tensor,
    values: torch.Tensor,
    batch: DeviceBatch,
    options: Options,
) -> torch.Tensor:
    """Attention of `[num_tokens, num_heads, key_size]` queries over one layer's cache, in which `new`, which is theirs,
    is already.

    Returns `[num_tokens, num_heads, value_size]`.
    """
    output = query.new_empty(*query.shape[:2], values.shape[3])
    attention = _LayerAttention(query, keys, values, batch, options)
    if batch.num_decode_rows:
        attention.decode(output)
    if batch.num_decode_rows < len(batch.lengths_q):
        attention.prefill(output, new)
    return output


LENGTHS = 256
"""Whole prompts are filled up to a multiple of it. On Hopper torch gives them to cuDNN, which builds itself a plan for
each length that it has not seen: some 30 ms in which the device waits, more than a prompt of 1,024 tokens may take."""


def attend_whole(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
    """Causal attention of one whole prompt, `[num_tokens, heads, size]`, by what torch has for heads that `suit_flash`:
    with nothing to be looked up in blocks it is half as fast again."""
    num_behind = -len(query) % LENGTHS  # zeros, which no token before them sees
    q, k, v = (F.pad(part, (0, 0, 0, 0, 0, num_behind)).transpose(0, 1)[None] for part in (query, keys, values))
    attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)
    return attended[0].transpose(0, 1)[: len(query)]


@dataclass(frozen=True, slots=True)
class _LayerAttention:
    """One layer's attention in one step: what its launches have in common."""

    query: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    batch: DeviceBatch
    options: Options

    @property
    def _heads(self) -> Heads:
        group = self.query.shape[1] // self.keys.shape[2]
        return Heads(group, self.keys.shape[3], self.values.shape[3], self.keys.element_size())

    def _tiling(self, kind: Kind) -> Tiling:
        return tiling_of(kind, self._heads, shared_memory_of(self.keys.device))

    def decode(self, output: torch.Tensor) -> None:
        """Attention of the rows of one token."""
        num_rows = self.batch.num_decode_rows
        num_programs = num_rows * self.keys.shape[2]
        tiling = self._tiling(decode_kind(num_programs, output.device))
        num_splits = decode_splits(num_programs, output.device)
        self._attend(tiling, None, num_splits, range(num_rows), output)

    def prefill(self, output: torch.Tensor, new: NewTokens) -> None:
        """Attention of the rows of several tokens."""
        tiling = self._tiling("prefill")
        whole = self.batch.whole_prompts if self.options.is_plain and self._heads.suit_flash else {}
        tiles = self.batch.prefill_tiles(tiling.tile_q, without_whole=bool(whole))
        if len(tiles):
            # Merging splits would overwrite whole prompts too; beside those, the chip has enough to do.
            num_splits = 1 if whole else prefill_splits(len(tiles) * self.keys.shape[2], output.device)
            self._attend(tiling, tiles, num_splits, range(self.batch.num_decode_rows, len(output)), output)
        for tokens in whole.values():
            output[tokens] = attend_whole(self.query[tokens], new.keys[tokens], new.values[tokens], self.options.scale)

    def _attend(
        self, tiling: Tiling, tiles: torch.Tensor | None, num_splits: int, tokens: range, output: torch.Tensor
    ) -> None:
        """Rows of some tokens, their keys in enough splits to fill the chip. Without `tiles` they are decode rows."""
        if num_splits == 1:
            self._launch(tiling, tiles, output)
        else:
            splits = Splits.empty(num_splits, tokens.stop, output)
            self._launch(tiling, tiles, splits)
            splits.merge_into(output, tokens, self.options.sinks)

    def _launch(self, tiling: Tiling, tiles: torch.Tensor | None, into: torch.Tensor | Splits) -> None:
        query, keys, batch, options, heads = self.query, self.keys, self.batch, self.options, self._heads
        splits = into if isinstance(into, Splits) else None
        num_splits, num_tokens = (1, 0) if splits is None else splits.outputs.shape[:2]
        num_tiles = batch.num_decode_rows if tiles is None else len(tiles)
        attend_kernel[(num_tiles, keys.shape[2], num_splits)](
            query,
            keys,
            self.values,
            into if splits is None else splits.outputs,
            None if splits is None else splits.statistics,
            options.sinks,
            tiles,
            batch.cu_seqlens_q,
            batch.seq_lens,
            batch.table_width,
            batch.block_tables,
            options.scale,
            options.softcap or 0.0,
            options.window or 0,
            num_tokens,
            num_splits,
            query.stride(0),
            query.stride(1),
            NUM_HEADS=query.shape[1],
            GROUP=heads.group,
            KEY_SIZE=heads.key_size,
            VALUE_SIZE=heads.value_size,
            KEY_PADDED=heads.key_padded,
            VALUE_PADDED=heads.value_padded,
            BLOCK_SIZE=keys.shape[1],
            TILE_Q=tiling.tile_q,
            TILE_M=tiling.tile_m,
            TILE_N=tiling.tile_n,
            IS_DECODE=tiles is None,
            IS_SPLIT=splits is not None,
            HAS_SINKS=options.sinks is not None,
            HAS_SOFTCAP=options.softcap is not None,
            HAS_WINDOW=options.window is not None,
            # TF32 would round float32 to 10 bits.
            PRECISION="ieee" if query.dtype == torch.float32 else "tf32",
            num_warps=tiling.num_warps,
            num_stages=tiling.num_stages,
            **launch_options(query.device),
        )
