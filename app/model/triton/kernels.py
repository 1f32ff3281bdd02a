"""Paged attention in Triton: one kernel over the block table for decode and prefill alike, and one that merges splits.

A tile is a few consecutive queries of one row together with all query heads that share a key-value head, so that keys
and values are read once per group. Its softmax is computed online over tiles of keys (FlashAttention-2: Dao 2023).
Where tiles are few, the keys of each are divided among several programs and merged after (Flash-Decoding: Dao et al.
2023). Weights are powers of 2, since `exp2` is what the hardware has.
"""

from __future__ import annotations

import triton
import triton.language as tl

from app.model.triton.small_kernels import wait
from app.model.triton.tile_kernels import LOG2_E, attend_tile, keys_of_split, locate

# Triton compiles a kernel anew for integers that are 1 or divisible by 16, and for pointers that are. Where these
# change from step to step, that would hold up a request by seconds, now and then, long after the start.
VARYING = ["window", "first_token", "num_tokens", "num_splits"]
VARYING_POINTERS = ["tiles", "cu_seqlens_q", "seq_lens", "table_width", "block_tables"]


@triton.jit
def divide(weighted, total, largest, sinks, heads, is_member, HAS_SINKS: tl.constexpr):
    """The weighted sum by all weights, a sink's included; `largest` in units of log2. Of no keys it is 0."""
    if HAS_SINKS:
        sink = tl.load(sinks + heads, mask=is_member, other=0.0).to(tl.float32) * LOG2_E
        larger = tl.maximum(largest, sink)
        shrink = tl.exp2(largest - larger)
        total = total * shrink + tl.exp2(sink - larger)
        weighted = weighted * shrink[:, None]
    return weighted / tl.where(total == 0, 1.0, total)[:, None]


@triton.jit(do_not_specialize=VARYING, do_not_specialize_on_alignment=VARYING_POINTERS)
def attend_kernel(
    query,  # [num_tokens, num_heads, KEY_SIZE], any strides
    keys,  # [num_slots, num_kv_heads, KEY_SIZE]
    values,  # [num_slots, num_kv_heads, VALUE_SIZE]
    output,  # [num_tokens, num_heads, VALUE_SIZE]; float32 [num_splits, num_tokens, num_heads, VALUE_SIZE] of splits
    statistics,  # of splits: float32 [num_splits, num_tokens, num_heads, 2]: largest score, sum of exponentials
    sinks,  # [num_heads]
    tiles,  # int32 [num_tiles, 2]: row, and index in the row of the tile's first query; decoding, the i-th is row i
    cu_seqlens_q,  # int32 [num_rows + 1]
    seq_lens,  # int32 [num_rows]
    table_width,  # int32 [1]
    block_tables,  # int32 [num_rows, *table_width]
    scale,
    softcap,
    window,
    num_tokens,
    num_splits,
    query_token_stride,
    query_head_stride,
    NUM_HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    KEY_SIZE: tl.constexpr,
    VALUE_SIZE: tl.constexpr,
    KEY_PADDED: tl.constexpr,
    VALUE_PADDED: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    TILE_Q: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_N: tl.constexpr,
    IS_DECODE: tl.constexpr,
    IS_SPLIT: tl.constexpr,
    HAS_SINKS: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    PRECISION: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    kv_head, split = tl.program_id(1), tl.program_id(2)
    row, first_token, num_queries, first_query = locate(tiles, cu_seqlens_q, IS_DECODE)
    seq_len = tl.load(seq_lens + row)
    member = tl.arange(0, TILE_M)
    queries = first_query + member // GROUP
    heads = kv_head * GROUP + member % GROUP
    is_member = (member < TILE_Q * GROUP) & (queries < num_queries)
    tokens = (first_token + queries).to(tl.int64)
    positions = seq_len - num_queries + queries
    key_dims, value_dims = tl.arange(0, KEY_PADDED), tl.arange(0, VALUE_PADDED)
    begin, unmasked_end, end = keys_of_split(
        seq_len, seq_len - num_queries + first_query, window, split, num_splits, TILE_Q, TILE_N, HAS_WINDOW
    )
    wait(IS_DEPENDENT)
    q = tl.load(
        query + (tokens * query_token_stride + heads.to(tl.int64) * query_head_stride)[:, None] + key_dims[None, :],
        mask=is_member[:, None] & (key_dims < KEY_SIZE)[None, :],
        other=0.0,
    )
    largest = tl.full([TILE_M], float("-inf"), dtype=tl.float32)
    total = tl.zeros([TILE_M], dtype=tl.float32)
    weighted = tl.zeros([TILE_M, VALUE_PADDED], dtype=tl.float32)
    table = block_tables + row.to(tl.int64) * tl.load(table_width)
    factor = 1.0 if HAS_SOFTCAP else scale * LOG2_E
    is_key_dim, is_value_dim = key_dims < KEY_SIZE, value_dims < VALUE_SIZE
    for is_masked in tl.static_range(2):  # first what all queries see, then the rest
        for start in range(unmasked_end if is_masked else begin, end if is_masked else unmasked_end, TILE_N):
            weighted, total, largest = attend_tile(
                start, end, q, positions, keys, values, table, kv_head, key_dims, is_key_dim, value_dims, is_value_dim,
                weighted, total, largest, scale, factor, softcap, window, NUM_HEADS // GROUP, KEY_SIZE, VALUE_SIZE,
                BLOCK_SIZE, TILE_N, is_masked, HAS_SOFTCAP, HAS_WINDOW, PRECISION,
            )  # fmt: skip
    largest *= factor
    places = tokens * NUM_HEADS + heads
    if IS_SPLIT:
        places += split.to(tl.int64) * num_tokens * NUM_HEADS
        tl.store(statistics + 2 * places, largest, mask=is_member)
        tl.store(statistics + 2 * places + 1, total, mask=is_member)
    else:
        weighted = divide(weighted, total, largest, sinks, heads, is_member, HAS_SINKS)
    tl.store(
        output + places[:, None] * VALUE_SIZE + value_dims[None, :],
        weighted.to(output.dtype.element_ty),
        mask=is_member[:, None] & (value_dims < VALUE_SIZE)[None, :],
    )


@triton.jit(do_not_specialize=VARYING)
def merge_kernel(
    partial,  # float32 [num_splits, num_tokens, num_heads, VALUE_SIZE]
    statistics,  # float32 [num_splits, num_tokens, num_heads, 2]
    output,  # [num_tokens, num_heads, VALUE_SIZE]
    sinks,  # [num_heads]
    first_token,
    num_tokens,
    num_splits,
    NUM_HEADS: tl.constexpr,
    VALUE_SIZE: tl.constexpr,
    VALUE_PADDED: tl.constexpr,
    SPLITS_PADDED: tl.constexpr,
    HAS_SINKS: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    """Merge the splits of one head of one token."""
    head = tl.program_id(1)
    place = (first_token + tl.program_id(0)).to(tl.int64) * NUM_HEADS + head
    splits = tl.arange(0, SPLITS_PADDED)
    is_split = splits < num_splits
    places = splits.to(tl.int64) * num_tokens * NUM_HEADS + place
    wait(IS_DEPENDENT)
    largest = tl.load(statistics + 2 * places, mask=is_split, other=float("-inf"))
    total = tl.load(statistics + 2 * places + 1, mask=is_split, other=0.0)
    reference = tl.max(largest, 0)
    if HAS_SINKS:
        sink = tl.load(sinks + head).to(tl.float32) * LOG2_E
        reference = tl.maximum(reference, sink)
    reference = tl.where(reference == float("-inf"), 0.0, reference)
    shrink = tl.exp2(largest - reference)
    whole = tl.sum(total * shrink, 0)
    if HAS_SINKS:
        whole += tl.exp2(sink - reference)
    dims = tl.arange(0, VALUE_PADDED)
    is_dim = dims < VALUE_SIZE
    weighted = tl.load(
        partial + places[:, None] * VALUE_SIZE + dims[None, :], mask=is_split[:, None] & is_dim[None, :], other=0.0
    )
    merged = tl.sum(weighted * shrink[:, None], 0) / tl.where(whole == 0, 1.0, whole)
    tl.store(output + place * VALUE_SIZE + dims, merged.to(output.dtype.element_ty), mask=is_dim)
