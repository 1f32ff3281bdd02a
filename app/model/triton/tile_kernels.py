"""What the attention kernel does with one tile of queries: which keys it sees, and how it attends to a tile of them."""

from __future__ import annotations

import triton
import triton.language as tl

LOG2_E: tl.constexpr = tl.constexpr(1.4426950408889634)


@triton.jit
def locate(tiles, cu_seqlens_q, IS_DECODE: tl.constexpr):
    """This program's row, its first token and number of queries, and which of these is the tile's first."""
    if IS_DECODE:
        row, first_query, num_queries = tl.program_id(0), 0, 1
        first_token = row
    else:
        row = tl.load(tiles + 2 * tl.program_id(0))
        first_query = tl.load(tiles + 2 * tl.program_id(0) + 1)
        first_token = tl.load(cu_seqlens_q + row)
        num_queries = tl.load(cu_seqlens_q + row + 1) - first_token
    return row, first_token, num_queries, first_query


@triton.jit
def keys_of_split(
    seq_len,
    first_position,
    window,
    split,
    num_splits,
    TILE_Q: tl.constexpr,
    TILE_N: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
):
    """The keys of this split among those that any query of the tile sees, in whole tiles.

    They begin and end at the first and last number given; up to the one between, all queries see them. Whole tiles
    before the first query need no masks; what a window cuts off does.
    """
    end = tl.minimum(seq_len, first_position + TILE_Q)
    begin = 0
    if HAS_WINDOW:
        begin = tl.maximum(0, first_position - window + 1) // TILE_N * TILE_N
    tiles_per_split = tl.cdiv(tl.cdiv(end - begin, TILE_N), num_splits)
    begin += split * tiles_per_split * TILE_N
    end = tl.minimum(end, begin + tiles_per_split * TILE_N)
    unmasked_end = begin
    if not HAS_WINDOW:
        unmasked_end += tl.maximum(0, tl.minimum(end, first_position + 1) - begin) // TILE_N * TILE_N
    return begin, unmasked_end, end


@triton.jit
def load_heads(pointers, is_key, is_dim, IS_MASKED: tl.constexpr, IS_PADDED: tl.constexpr):
    """Keys or values; what is masked is 0. The fewer masks, the sooner they come."""
    if IS_MASKED:
        given = tl.load(pointers, mask=is_key & is_dim, other=0.0)
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


@triton.jit
def attend_tile(
    start,
    end,
    q,
    positions,
    keys,
    values,
    table,  # this row's blocks
    kv_head,
    key_dims,
    is_key_dim,
    value_dims,
    is_value_dim,
    weighted,
    total,
    largest,
    scale,
    factor,
    softcap,
    window,
    NUM_KV_HEADS: tl.constexpr,
    KEY_SIZE: tl.constexpr,
    VALUE_SIZE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    TILE_N: tl.constexpr,
    IS_MASKED: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Go on from what was seen so far with the keys from `start` on."""
    seen = start + tl.arange(0, TILE_N)
    is_key = seen < end
    if IS_MASKED:
        # What lies behind the end may hold anything, and 0 times NaN is NaN: it is not read at all.
        blocks = tl.load(table + seen // BLOCK_SIZE, mask=is_key, other=0)
    else:
        blocks = tl.load(table + seen // BLOCK_SIZE)
    places = (blocks.to(tl.int64) * BLOCK_SIZE + seen % BLOCK_SIZE) * NUM_KV_HEADS + kv_head
    key_places = keys + places[None, :] * KEY_SIZE + key_dims[:, None]
    k = load_heads(key_places, is_key[None, :], is_key_dim[:, None], IS_MASKED, key_dims.shape[0] != KEY_SIZE)
    value_places = values + places[:, None] * VALUE_SIZE + value_dims[None, :]
    v = load_heads(value_places, is_key[:, None], is_value_dim[None, :], IS_MASKED, value_dims.shape[0] != VALUE_SIZE)
    scores = scores_of(q, k, scale, softcap, HAS_SOFTCAP, PRECISION)
    if IS_MASKED:
        sees = is_key[None, :] & (seen[None, :] <= positions[:, None])
        if HAS_WINDOW:
            sees &= seen[None, :] > positions[:, None] - window
        scores = tl.where(sees, scores, float("-inf"))
    return weigh(scores, v, weighted, total, largest, factor, PRECISION)
