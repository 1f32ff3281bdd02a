"""All that attention does for a token that decodes, in one kernel: norms and rotation of its queries and key, storing
key and value, attending to the cache, and putting shares of the keys together.

Between two kernels that depend on each other lie microseconds, many times what a short row's attention takes.
"""

from __future__ import annotations

import triton
import triton.language as tl

from app.model.triton.kernels import VARYING_POINTERS, attend_keys
from app.model.triton.small_kernels import wait
from app.model.triton.tile_kernels import LOG2_E, share_of_keys


@triton.jit
def prefetch(pointers):
    """Ask for the memory behind each of them, without waiting for it."""
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [pointers], dtype=tl.int32, is_pure=False, pack=1
    )


@triton.jit
def prefetch_first(
    keys, values, table, kv_head, begin, end, NUM_KV_HEADS: tl.constexpr, SIZE: tl.constexpr, BLOCK_SIZE: tl.constexpr,
    AHEAD: tl.constexpr,
):  # fmt: skip
    """A share's first keys and values, which do not depend on this step. For a short row that is all of them."""
    seen = begin + tl.arange(0, AHEAD)
    block = tl.load(table + seen // BLOCK_SIZE, mask=seen < end, other=0)
    place = ((block.to(tl.int64) * BLOCK_SIZE + seen % BLOCK_SIZE) * NUM_KV_HEADS + kv_head) * SIZE
    line: tl.constexpr = 1024 // keys.dtype.element_ty.primitive_bitwidth
    for offset in tl.static_range(0, SIZE, line):
        prefetch(keys + place + offset)
        prefetch(values + place + offset)


@triton.jit
def merged(
    shares,  # float32 [num_splits, num_rows, NUM_HEADS, SIZE]
    statistics,  # float32 [num_splits, num_rows, NUM_HEADS, 2]
    places,  # of the heads to be merged in the first share: [GROUP_PADDED]
    stride,  # from share to share
    is_head,  # [GROUP_PADDED]
    dims,  # [SIZE_PADDED]
    num_shares,
    SIZE: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """The weighted sums of all shares by all weights, `[GROUP_PADDED, SIZE_PADDED]`."""
    largest = tl.full([places.shape[0]], float("-inf"), dtype=tl.float32)
    total = tl.zeros([places.shape[0]], dtype=tl.float32)
    weighted = tl.zeros([places.shape[0], dims.shape[0]], dtype=tl.float32)
    for first in range(0, num_shares, AT_ONCE):
        some = first + tl.arange(0, AT_ONCE)
        each = places[None, :] + some.to(tl.int64)[:, None] * stride
        is_each = (some < num_shares)[:, None] & is_head[None, :]
        # Others wrote them while this kernel ran: the nearest cache may hold what was there before.
        scores = tl.load(statistics + 2 * each, mask=is_each, other=float("-inf"), cache_modifier=".cg")
        sums = tl.load(statistics + 2 * each + 1, mask=is_each, other=0.0, cache_modifier=".cg")
        parts = tl.load(
            shares + each[:, :, None] * SIZE + dims[None, None, :],
            mask=is_each[:, :, None] & (dims < SIZE)[None, None, :],
            other=0.0,
            cache_modifier=".cg",
        )
        larger = tl.where(is_head, tl.maximum(largest, tl.max(scores, 0)), 0.0)
        weights, shrink = tl.exp2(scores - larger[None, :]), tl.exp2(largest - larger)
        total = total * shrink + tl.sum(sums * weights, 0)
        weighted = weighted * shrink[:, None] + tl.sum(parts * weights[:, :, None], 0)
        largest = larger
    return weighted / tl.where(is_head, total, 1.0)[:, None]


@triton.jit(do_not_specialize=["window", "num_rows", "num_splits"], do_not_specialize_on_alignment=VARYING_POINTERS)
def decode_kernel(
    qkv,  # [num_rows, NUM_HEADS + 2 * NUM_KV_HEADS, SIZE]
    query_norm,  # [SIZE]
    key_norm,  # [SIZE]
    cosines,  # float32 [num_positions, SIZE / 2]
    sines,  # float32 [num_positions, SIZE / 2]
    keys,  # [num_slots, NUM_KV_HEADS, SIZE]
    values,  # [num_slots, NUM_KV_HEADS, SIZE]
    output,  # [num_rows, NUM_HEADS, SIZE]
    shares,  # float32 [num_splits, num_rows, NUM_HEADS, SIZE]
    statistics,  # float32 [num_splits, num_rows, NUM_HEADS, 2]: largest score, sum of exponentials
    arrivals,  # int32 [num_rows, NUM_KV_HEADS]: shares that are done; 0 before and after
    seq_lens,  # int32 [num_rows]; 0 of a row that is none
    table_width,  # int32 [1]
    block_tables,  # int32 [num_rows, *table_width]
    epsilon,
    scale,
    window,
    num_rows,
    num_splits,
    NUM_HEADS: tl.constexpr,
    NUM_KV_HEADS: tl.constexpr,
    SIZE: tl.constexpr,
    SIZE_PADDED: tl.constexpr,
    GROUP_PADDED: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_N: tl.constexpr,
    AT_ONCE: tl.constexpr,
    AHEAD: tl.constexpr,
    HAS_NORMS: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
    PRECISION: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    """A share of the keys of one row's group of heads. The program that is done last merges the group's shares."""
    group: tl.constexpr = NUM_HEADS // NUM_KV_HEADS
    row, kv_head, split = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    seq_len = tl.load(seq_lens + row)
    begin, unmasked_end, end, num_shares = share_of_keys(
        seq_len, seq_len - 1, window, split, num_splits, 1, TILE_N, HAS_WINDOW
    )
    if (begin >= end) & (split > 0):
        return
    table = block_tables + row * tl.load(table_width)
    position = tl.maximum(seq_len - 1, 0)
    slot = tl.load(table + position // BLOCK_SIZE).to(tl.int64) * BLOCK_SIZE + position % BLOCK_SIZE
    # The tile's members are the group's queries, the key and the value, whose scores go nowhere.
    member, dims = tl.arange(0, TILE_M)[:, None], tl.arange(0, SIZE_PADDED)[None, :]
    is_query, is_key, is_value = member < group, member == group, member == group + 1
    is_dim, is_low = dims < SIZE, dims < SIZE // 2
    partners = tl.where(is_low, dims + SIZE // 2, dims - SIZE // 2)
    angle = position.to(tl.int64) * (SIZE // 2) + tl.where(is_low, dims, partners)
    cosine, sine = tl.load(cosines + angle, mask=is_dim, other=0.0), tl.load(sines + angle, mask=is_dim, other=0.0)
    if HAS_NORMS:
        query_weights = tl.load(query_norm + dims, mask=is_dim, other=0.0)
        query_partners = tl.load(query_norm + partners, mask=is_dim, other=0.0)
        key_weights = tl.load(key_norm + dims, mask=is_dim, other=0.0)
        key_partners = tl.load(key_norm + partners, mask=is_dim, other=0.0)
        norm_weight = tl.where(is_query, query_weights, key_weights).to(tl.float32)
        partner_weight = tl.where(is_query, query_partners, key_partners).to(tl.float32)
    if IS_DEPENDENT:
        prefetch_first(keys, values, table, kv_head, begin, end, NUM_KV_HEADS, SIZE, BLOCK_SIZE, AHEAD)
    wait(IS_DEPENDENT)
    head = tl.where(is_query, kv_head * group + member, NUM_HEADS + kv_head + tl.where(is_value, NUM_KV_HEADS, 0))
    place = qkv + (row * (NUM_HEADS + 2 * NUM_KV_HEADS) + head) * SIZE
    is_there = (member < group + 2) & is_dim
    stored = tl.load(place + dims, mask=is_there, other=0.0)
    low, high = stored.to(tl.float32), tl.load(place + partners, mask=is_there, other=0.0).to(tl.float32)
    if HAS_NORMS:
        factor = tl.rsqrt(tl.sum(low * low, 1) / SIZE + epsilon)[:, None]
        low = (low * factor).to(stored.dtype).to(tl.float32) * norm_weight
        high = (high * factor).to(stored.dtype).to(tl.float32) * partner_weight
    rotated = (low * cosine + high * tl.where(is_low, -sine, sine)).to(stored.dtype)
    if (begin < end) & (end == seq_len):
        in_cache = (slot * NUM_KV_HEADS + kv_head) * SIZE + dims
        into_cache = tl.where(is_key, keys + in_cache, values + in_cache)
        tl.store(into_cache, tl.where(is_key, rotated, stored), mask=(is_key | is_value) & is_dim)
    tl.debug_barrier()  # the other threads read them below
    weighted, total, largest = attend_keys(
        begin, unmasked_end, end, rotated, tl.zeros([TILE_M], dtype=tl.int32) + position, keys, values, table, kv_head,
        scale, 0.0, window, NUM_KV_HEADS, SIZE, SIZE, SIZE_PADDED, SIZE_PADDED, BLOCK_SIZE, TILE_M, TILE_N, False,
        HAS_WINDOW, PRECISION,
    )  # fmt: skip
    first_head = row * NUM_HEADS + kv_head * group
    if num_shares <= 1:
        given = weighted / tl.where(total == 0, 1.0, total)[:, None]
        into = output + (first_head + member) * SIZE + dims
        tl.store(into, given.to(output.dtype.element_ty), mask=is_query & is_dim)
    else:
        stride = num_rows.to(tl.int64) * NUM_HEADS
        members = tl.arange(0, TILE_M)
        share = split * stride + first_head
        tl.store(statistics + 2 * (share + members), largest * (scale * LOG2_E), mask=members < group)
        tl.store(statistics + 2 * (share + members) + 1, total, mask=members < group)
        tl.store(shares + (share + member) * SIZE + dims, weighted, mask=is_query & is_dim)
        tl.debug_barrier()  # one thread tells for all of them
        arrived = arrivals + row * NUM_KV_HEADS + kv_head
        if tl.atomic_add(arrived, 1, sem="acq_rel") == num_shares - 1:
            tl.store(arrived, 0)
            merging, all_dims = tl.arange(0, GROUP_PADDED), tl.arange(0, SIZE_PADDED)
            sums = merged(
                shares, statistics, first_head + merging, stride, merging < group, all_dims, num_shares, SIZE, AT_ONCE
            )
            merged_into = output + (first_head + merging)[:, None] * SIZE + dims
            tl.store(merged_into, sums.to(output.dtype.element_ty), mask=(merging < group)[:, None] & is_dim)
