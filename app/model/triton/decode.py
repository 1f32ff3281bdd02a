"""Attention of the rows that decode one token each, from projections to outputs, by one kernel."""

from __future__ import annotations

import torch
import triton

from app.model.triton.attention import Options
from app.model.triton.batch import DeviceBatch
from app.model.triton.decode_kernels import decode_kernel
from app.model.triton.launch import launch_options
from app.model.triton.rotary import Rotary
from app.model.triton.shares import Shares
from app.model.triton.tiling import Heads, decode_kind, decode_splits, shared_memory_of, tiling_of

MOST_DIVIDED = 4096
"""Groups of heads, of all rows: with as many, no chip is left idle if the keys of each are attended to in one go."""

MERGED_AT_ONCE = 1024
"""Numbers of shares that a warp holds while they are merged."""

PREFETCHED = 128
"""Keys of a program that are on their way before its query is there."""


def no_arrivals(device: torch.device) -> torch.Tensor:
    """What `decode` counts in, and leaves as it was; one for all layers of a model."""
    return torch.zeros(MOST_DIVIDED, dtype=torch.int32, device=device)


def decode(
    qkv: torch.Tensor,
    rotary: Rotary,
    keys: torch.Tensor,
    values: torch.Tensor,
    batch: DeviceBatch,
    options: Options,
    arrivals: torch.Tensor,
    output: torch.Tensor,
) -> None:
    """Attention of the rows of one token over one layer's cache, in which their keys and values are stored.

    `qkv`: `[num_rows, num_heads + 2 * num_kv_heads, head_size]`, as projected; `output`: `[num_rows, num_heads,
    head_size]`. Neither sinks nor soft-capping.
    """
    num_rows, num_all_heads, head_size = qkv.shape
    num_kv_heads = keys.shape[2]
    num_heads = num_all_heads - 2 * num_kv_heads
    group = num_heads // num_kv_heads
    num_programs = num_rows * num_kv_heads
    num_splits = decode_splits(num_programs, qkv.device)
    # The key and the value are members of the tile, too.
    heads = Heads(group + 2, head_size, head_size, keys.element_size())
    tiling = tiling_of(decode_kind(num_programs, qkv.device), heads, shared_memory_of(qkv.device))
    group_padded = triton.next_power_of_2(group)
    shares = Shares.empty(num_splits if num_splits > 1 else 0, num_rows, output)
    decode_kernel[(num_rows, num_kv_heads, num_splits)](
        qkv,
        rotary.query_norm,
        rotary.key_norm,
        rotary.cosines,
        rotary.sines,
        keys,
        values,
        output,
        shares.outputs,
        shares.statistics,
        arrivals,
        batch.seq_lens,
        batch.table_width,
        batch.block_tables,
        rotary.epsilon,
        options.scale,
        options.window or 0,
        num_rows,
        num_splits,
        NUM_HEADS=num_heads,
        NUM_KV_HEADS=num_kv_heads,
        SIZE=head_size,
        SIZE_PADDED=heads.key_padded,
        GROUP_PADDED=group_padded,
        BLOCK_SIZE=keys.shape[1],
        TILE_M=tiling.tile_m,
        TILE_N=tiling.tile_n,
        AT_ONCE=max(1, MERGED_AT_ONCE * tiling.num_warps // (group_padded * heads.key_padded)),
        AHEAD=PREFETCHED,
        HAS_NORMS=rotary.query_norm is not None,
        HAS_WINDOW=options.window is not None,
        PRECISION="ieee" if qkv.dtype == torch.float32 else "tf32",
        num_warps=tiling.num_warps,
        num_stages=tiling.num_stages,
        **launch_options(qkv.device),
    )
