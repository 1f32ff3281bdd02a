"""What lies between the matrix products of a Llama-like layer, in three kernels instead of some thirty.

Each reads its numbers once and rounds where transformers' modules do, as far as that can be seen in the result.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def add_norm_kernel(
    residual,  # [num_tokens, SIZE], changed
    delta,  # [num_tokens, SIZE]
    weight,  # [SIZE]
    normed,  # [num_tokens, SIZE]
    epsilon,
    SIZE: tl.constexpr,
    PADDED: tl.constexpr,
    HAS_DELTA: tl.constexpr,
):
    """Add `delta` to one token's `residual`; its root-mean-square norm (Zhang and Sennrich 2019)."""
    token = tl.program_id(0).to(tl.int64)
    dims = tl.arange(0, PADDED)
    is_dim = dims < SIZE
    value = tl.load(residual + token * SIZE + dims, mask=is_dim, other=0.0)
    if HAS_DELTA:
        added = value.to(tl.float32) + tl.load(delta + token * SIZE + dims, mask=is_dim, other=0.0).to(tl.float32)
        value = added.to(value.dtype)
        tl.store(residual + token * SIZE + dims, value, mask=is_dim)
    exact = value.to(tl.float32)
    scaled = exact * tl.rsqrt(tl.sum(exact * exact, 0) / SIZE + epsilon)
    weights = tl.load(weight + dims, mask=is_dim, other=0.0)
    given = scaled.to(value.dtype).to(tl.float32) * weights.to(tl.float32)
    tl.store(normed + token * SIZE + dims, given.to(value.dtype), mask=is_dim)


@triton.jit(do_not_specialize_on_alignment=["slot_mapping", "positions"])
def rotate_and_store_kernel(
    qkv,  # [num_tokens, NUM_HEADS + 2 * NUM_KV_HEADS, SIZE]; the queries are changed in place
    query_weight,  # [SIZE]
    key_weight,  # [SIZE]
    cosines,  # float32 [num_positions, HALF]
    sines,  # float32 [num_positions, HALF]
    positions,  # int64 [num_tokens]
    slot_mapping,  # int64 [num_tokens]; a token without a slot has a negative one
    keys,  # [num_slots, NUM_KV_HEADS, SIZE]
    values,  # [num_slots, NUM_KV_HEADS, SIZE]
    epsilon,
    NUM_HEADS: tl.constexpr,
    NUM_KV_HEADS: tl.constexpr,
    SIZE: tl.constexpr,
    HALF: tl.constexpr,
    HALF_PADDED: tl.constexpr,
    HAS_NORMS: tl.constexpr,
):
    """One head of one token: norms of queries and keys, rotation (Su et al. 2021), keys and values to the cache."""
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    slot = tl.load(slot_mapping + token)
    place = qkv + (token * (NUM_HEADS + 2 * NUM_KV_HEADS) + head) * SIZE
    dims = tl.arange(0, HALF_PADDED)
    is_dim = dims < HALF
    low_stored = tl.load(place + dims, mask=is_dim, other=0.0)
    high_stored = tl.load(place + HALF + dims, mask=is_dim, other=0.0)
    if head >= NUM_HEADS + NUM_KV_HEADS:
        if slot >= 0:
            target = values + (slot * NUM_KV_HEADS + head - NUM_HEADS - NUM_KV_HEADS) * SIZE
            tl.store(target + dims, low_stored, mask=is_dim)
            tl.store(target + HALF + dims, high_stored, mask=is_dim)
    else:
        low, high = low_stored.to(tl.float32), high_stored.to(tl.float32)
        if HAS_NORMS:
            scale = tl.rsqrt((tl.sum(low * low, 0) + tl.sum(high * high, 0)) / SIZE + epsilon)
            weight = query_weight if head < NUM_HEADS else key_weight
            low_weight = tl.load(weight + dims, mask=is_dim, other=0.0).to(tl.float32)
            high_weight = tl.load(weight + HALF + dims, mask=is_dim, other=0.0).to(tl.float32)
            low = (low * scale).to(low_stored.dtype).to(tl.float32) * low_weight
            high = (high * scale).to(low_stored.dtype).to(tl.float32) * high_weight
        position = tl.load(positions + token)
        cosine = tl.load(cosines + position * HALF + dims, mask=is_dim, other=0.0)
        sine = tl.load(sines + position * HALF + dims, mask=is_dim, other=0.0)
        rotated_low = (low * cosine - high * sine).to(low_stored.dtype)
        rotated_high = (high * cosine + low * sine).to(low_stored.dtype)
        if head < NUM_HEADS:
            tl.store(place + dims, rotated_low, mask=is_dim)
            tl.store(place + HALF + dims, rotated_high, mask=is_dim)
        elif slot >= 0:
            target = keys + (slot * NUM_KV_HEADS + head - NUM_HEADS) * SIZE
            tl.store(target + dims, rotated_low, mask=is_dim)
            tl.store(target + HALF + dims, rotated_high, mask=is_dim)


@triton.jit
def silu_multiply_kernel(
    gate_up,  # [num_tokens, 2 * SIZE]
    activated,  # [num_tokens, SIZE]
    SIZE: tl.constexpr,
    TILE: tl.constexpr,
):
    """A piece of one token's gated activation (SwiGLU: Shazeer 2020)."""
    token = tl.program_id(0).to(tl.int64)
    dims = tl.program_id(1) * TILE + tl.arange(0, TILE)
    is_dim = dims < SIZE
    gate = tl.load(gate_up + token * 2 * SIZE + dims, mask=is_dim, other=0.0)
    up = tl.load(gate_up + token * 2 * SIZE + SIZE + dims, mask=is_dim, other=0.0)
    exact = gate.to(tl.float32)
    silu = (exact * tl.sigmoid(exact)).to(gate.dtype).to(tl.float32)
    tl.store(activated + token * SIZE + dims, (silu * up.to(tl.float32)).to(gate.dtype), mask=is_dim)
