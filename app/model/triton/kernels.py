"""Paged attention in Triton: one kernel over the block table for decode and prefill alike, and one that merges shares.

A tile is a few consecutive queries of one row together with all query heads that share a key-value head, so that keys
and values are read once per group. Its softmax is computed online over tiles of keys (FlashAttention-2: Dao 2023).
Where tiles are few, the keys of each are divided among several programs and merged after (Flash-Decoding: Dao et al.
2023). Weights are powers of 2, since `exp2` is what the hardware has.
"""

from __future__ import annotations

import triton
import triton.language as tl

from app.model.triton.small_kernels import wait

LOG2_E: tl.constexpr = tl.constexpr(1.4426950408889634)

# Triton compiles a kernel anew for integers that are 1 or divisible by 16, and for pointers that are. Where these
# change from step to step, that would hold up a request by seconds, now and then, long after the start.
VARYING = ["window", "first_token", "num_tokens", "num_splits"]
VARYING_POINTERS = ["tiles", "cu_seqlens_q", "seq_lens", "table_width", "block_tables"]


@triton.jit
def load_heads(pointers, is_token, is_dim, IS_MASKED: tl.constexpr, IS_PADDED: tl.constexpr):
    """Keys or values; what is masked is 0. The fewer masks, the sooner they come."""
    if IS_MASKED:
        given = tl.load(pointers, mask=is_token & is_dim, other=0.0)
    elif IS_PADDED:
        given = tl.load(pointers, mask=is_dim, other=0.0)
    else:
        given = tl.load(pointers)
    return given


@triton.jit
def scores_of(q, k, scale, softcap, HAS_SOFTCAP: tl.constexpr, PRECISION: tl.constexpr):
    """Of queries `[TILE_M, KEY_PADDED]` and keys `[KEY_PADDED, TILE_N]`; soft-capped ones are in units of log2."""
    scores = tl.dot(q, k, input_precision=PRECISION)
    if HAS_SOFTCAP:
        limit = softcap * LOG2_E
        scores = limit * (2 * tl.sigmoid(2 * scores * scale / softcap) - 1)  # tanh
    return scores


@triton.jit
def weigh(scores, v, weighted, total, largest, factor, PRECISION: tl.constexpr):
    """Add a tile's values to the weighted sum; its weights, to their total, relative to the largest score so far.

    `factor`, which is above 0, turns scores into units of log2.
    """
    larger = tl.maximum(largest, tl.max(scores, 1))
    # A query that has seen no key yet must not subtract one infinity from another.
    reference = tl.where(larger == float("-inf"), 0.0, larger * factor)
    shrink = tl.exp2(largest * factor - reference)
    weights = tl.exp2(scores * factor - reference[:, None])
    weighted = weighted * shrink[:, None] + tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
    return weighted, total * shrink + tl.sum(weights, 1), larger


@triton.jit(do_not_specialize=VARYING, do_not_specialize_on_alignment=VARYING_POINTERS)
def attend_kernel(
    query,  # [num_tokens, num_heads, KEY_SIZE], any strides
    keys,  # [num_slots, num_kv_heads, KEY_SIZE]
    values,  # [num_slots, num_kv_heads, VALUE_SIZE]
    output,  # [num_tokens, num_heads, VALUE_SIZE]; float32 [num_splits, num_tokens, num_heads, VALUE_SIZE] of shares
    statistics,  # of shares: float32 [num_splits, num_tokens, num_heads, 2]: largest score, sum of exponentials
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
    IS_SHARE: tl.constexpr,
    HAS_SINKS: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    PRECISION: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    kv_head, split = tl.program_id(1), tl.program_id(2)
    if IS_DECODE:
        row, first_query, num_queries = tl.program_id(0), 0, 1
        first_token = row
    else:
        row = tl.load(tiles + 2 * tl.program_id(0))
        first_query = tl.load(tiles + 2 * tl.program_id(0) + 1)
        first_token = tl.load(cu_seqlens_q + row)
        num_queries = tl.load(cu_seqlens_q + row + 1) - first_token
    seq_len = tl.load(seq_lens + row)

    member = tl.arange(0, TILE_M)
    queries = first_query + member // GROUP
    heads = kv_head * GROUP + member % GROUP
    is_member = (member < TILE_Q * GROUP) & (queries < num_queries)
    tokens = (first_token + queries).to(tl.int64)
    positions = seq_len - num_queries + queries
    key_dims, value_dims = tl.arange(0, KEY_PADDED), tl.arange(0, VALUE_PADDED)

    # Keys that any query of the tile sees, of these the share of this split, in whole tiles.
    first_position = seq_len - num_queries + first_query
    end = tl.minimum(seq_len, first_position + TILE_Q)
    begin = 0
    if HAS_WINDOW:
        begin = tl.maximum(0, first_position - window + 1) // TILE_N * TILE_N
    tiles_per_split = tl.cdiv(tl.cdiv(end - begin, TILE_N), num_splits)
    begin += split * tiles_per_split * TILE_N
    end = tl.minimum(end, begin + tiles_per_split * TILE_N)

    # Whole tiles before the first query are seen by all, and need no masks; what a window cuts off does.
    unmasked_end = begin
    if not HAS_WINDOW:
        unmasked_end += tl.maximum(0, tl.minimum(end, first_position + 1) - begin) // TILE_N * TILE_N
    wait(IS_DEPENDENT)
    q = tl.load(
        query + tokens[:, None] * query_token_stride + heads[:, None] * query_head_stride + key_dims[None, :],
        mask=is_member[:, None] & (key_dims < KEY_SIZE)[None, :],
        other=0.0,
    )
    largest = tl.full([TILE_M], float("-inf"), dtype=tl.float32)
    total = tl.zeros([TILE_M], dtype=tl.float32)
    weighted = tl.zeros([TILE_M, VALUE_PADDED], dtype=tl.float32)
    num_kv_heads: tl.constexpr = NUM_HEADS // GROUP
    table = block_tables + row.to(tl.int64) * tl.load(table_width)
    factor = 1.0 if HAS_SOFTCAP else scale * LOG2_E
    is_key_dim, is_value_dim = (key_dims < KEY_SIZE)[:, None], (value_dims < VALUE_SIZE)[None, :]
    keys_padded: tl.constexpr = KEY_SIZE != KEY_PADDED
    values_padded: tl.constexpr = VALUE_SIZE != VALUE_PADDED
    for start in range(begin, unmasked_end, TILE_N):
        seen = start + tl.arange(0, TILE_N)
        slots = (tl.load(table + seen // BLOCK_SIZE).to(tl.int64) * BLOCK_SIZE + seen % BLOCK_SIZE) * num_kv_heads
        slots += kv_head
        key_places = keys + slots[None, :] * KEY_SIZE + key_dims[:, None]
        k = load_heads(key_places, True, is_key_dim, False, keys_padded)
        value_places = values + slots[:, None] * VALUE_SIZE + value_dims[None, :]
        v = load_heads(value_places, True, is_value_dim, False, values_padded)
        scores = scores_of(q, k, scale, softcap, HAS_SOFTCAP, PRECISION)
        weighted, total, largest = weigh(scores, v, weighted, total, largest, factor, PRECISION)
    for start in range(unmasked_end, end, TILE_N):
        seen = start + tl.arange(0, TILE_N)
        # What lies behind the end may hold anything, and 0 times NaN is NaN: it is not read at all.
        is_key = seen < end
        blocks = tl.load(table + seen // BLOCK_SIZE, mask=is_key, other=0)
        slots = (blocks.to(tl.int64) * BLOCK_SIZE + seen % BLOCK_SIZE) * num_kv_heads + kv_head
        key_places = keys + slots[None, :] * KEY_SIZE + key_dims[:, None]
        k = load_heads(key_places, is_key[None, :], is_key_dim, True, keys_padded)
        v = load_heads(
            values + slots[:, None] * VALUE_SIZE + value_dims[None, :],
            is_key[:, None],
            is_value_dim,
            True,
            values_padded,
        )
        scores = scores_of(q, k, scale, softcap, HAS_SOFTCAP, PRECISION)
        sees = is_key[None, :] & (seen[None, :] <= positions[:, None])
        if HAS_WINDOW:
            sees &= seen[None, :] > positions[:, None] - window
        scores = tl.where(sees, scores, float("-inf"))
        weighted, total, largest = weigh(scores, v, weighted, total, largest, factor, PRECISION)
    largest *= factor

    places = tokens * NUM_HEADS + heads
    if IS_SHARE:
        places += split.to(tl.int64) * num_tokens * NUM_HEADS
        tl.store(statistics + 2 * places, largest, mask=is_member)
        tl.store(statistics + 2 * places + 1, total, mask=is_member)
    else:
        if HAS_SINKS:
            sink = tl.load(sinks + heads, mask=is_member, other=0.0).to(tl.float32) * LOG2_E
            larger = tl.maximum(largest, sink)
            shrink = tl.exp2(largest - larger)
            total = total * shrink + tl.exp2(sink - larger)
            weighted = weighted * shrink[:, None]
        weighted = weighted / tl.where(total == 0, 1.0, total)[:, None]
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
    """Put the shares of one token's head together."""
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
