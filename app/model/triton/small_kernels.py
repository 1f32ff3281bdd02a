"""The operations between the matrix products of a Llama-like layer, in three kernels instead of about thirty, and the
kernel that stores other models' keys and values.

Each reads its inputs once and rounds where transformers' modules do, as far as that affects the result.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def wait(IS_DEPENDENT: tl.constexpr):
    """Let the next kernel start, and wait until the previous one has ended (see `launch.py`)."""
    if IS_DEPENDENT:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def norm_kernel(
    inputs,  # [num_tokens, SIZE]
    weight,  # [SIZE]
    normed,  # [num_tokens, SIZE]
    epsilon,
    SIZE: tl.constexpr,
    PADDED: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    """One token's root-mean-square norm (Zhang and Sennrich 2019)."""
    token = tl.program_id(0).to(tl.int64)
    dims = tl.arange(0, PADDED)
    is_dim = dims < SIZE
    weights = tl.load(weight + dims, mask=is_dim, other=0.0).to(tl.float32)
    wait(IS_DEPENDENT)
    value = tl.load(inputs + token * SIZE + dims, mask=is_dim, other=0.0)
    exact = value.to(tl.float32)
    scaled = exact * tl.rsqrt(tl.sum(exact * exact, 0) / SIZE + epsilon)
    given = scaled.to(value.dtype).to(tl.float32) * weights
    tl.store(normed + token * SIZE + dims, given.to(value.dtype), mask=is_dim)


@triton.jit(do_not_specialize_on_alignment=["slot_mapping", "positions"])
def rotate_and_store_kernel(
    qkv,  # [num_tokens, NUM_HEADS + 2 * NUM_KV_HEADS, SIZE]; queries and keys are changed in place
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
    TILE_H: tl.constexpr,
    HAS_NORMS: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    """Some heads of one token: norms of queries and keys, rotation (Su et al. 2021), keys and values to the cache."""
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * TILE_H + tl.arange(0, TILE_H)[:, None]
    dims = tl.arange(0, HALF_PADDED)[None, :]
    is_query, is_key = head < NUM_HEADS, (head >= NUM_HEADS) & (head < NUM_HEADS + NUM_KV_HEADS)
    is_value = (head >= NUM_HEADS + NUM_KV_HEADS) & (head < NUM_HEADS + 2 * NUM_KV_HEADS)
    is_dim = dims < HALF
    position, slot = tl.load(positions + token), tl.load(slot_mapping + token)
    cosine = tl.load(cosines + position * HALF + dims, mask=is_dim, other=0.0)
    sine = tl.load(sines + position * HALF + dims, mask=is_dim, other=0.0)
    wait(IS_DEPENDENT)
    place = qkv + (token * (NUM_HEADS + 2 * NUM_KV_HEADS) + head) * SIZE + dims
    is_there = (is_query | is_key | is_value) & is_dim
    low_stored = tl.load(place, mask=is_there, other=0.0)
    high_stored = tl.load(place + HALF, mask=is_there, other=0.0)
    low, high = low_stored.to(tl.float32), high_stored.to(tl.float32)
    if HAS_NORMS:
        scale = tl.rsqrt((tl.sum(low * low, 1) + tl.sum(high * high, 1)) / SIZE + epsilon)[:, None]
        weight = tl.where(is_query, query_weight + dims, key_weight + dims)
        low_weight = tl.load(weight, mask=is_dim, other=0.0).to(tl.float32)
        high_weight = tl.load(weight + HALF, mask=is_dim, other=0.0).to(tl.float32)
        low = (low * scale).to(low_stored.dtype).to(tl.float32) * low_weight
        high = (high * scale).to(low_stored.dtype).to(tl.float32) * high_weight
    rotated_low = (low * cosine - high * sine).to(low_stored.dtype)
    rotated_high = (high * cosine + low * sine).to(low_stored.dtype)
    tl.store(place, rotated_low, mask=(is_query | is_key) & is_dim)
    tl.store(place + HALF, rotated_high, mask=(is_query | is_key) & is_dim)
    if slot >= 0:
        key_place = keys + (slot * NUM_KV_HEADS + head - NUM_HEADS) * SIZE + dims
        tl.store(key_place, rotated_low, mask=is_key & is_dim)
        tl.store(key_place + HALF, rotated_high, mask=is_key & is_dim)
        value_place = values + (slot * NUM_KV_HEADS + head - NUM_HEADS - NUM_KV_HEADS) * SIZE + dims
        tl.store(value_place, low_stored, mask=is_value & is_dim)
        tl.store(value_place + HALF, high_stored, mask=is_value & is_dim)


@triton.jit
def silu_multiply_kernel(
    gate_up,  # [num_tokens, 2 * SIZE]
    activated,  # [num_tokens, SIZE]
    SIZE: tl.constexpr,
    TILE: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    """A piece of one token's gated activation (SwiGLU: Shazeer 2020)."""
    token = tl.program_id(0).to(tl.int64)
    dims = tl.program_id(1) * TILE + tl.arange(0, TILE)
    is_dim = dims < SIZE
    wait(IS_DEPENDENT)
    gate = tl.load(gate_up + token * 2 * SIZE + dims, mask=is_dim, other=0.0)
    up = tl.load(gate_up + token * 2 * SIZE + SIZE + dims, mask=is_dim, other=0.0)
    exact = gate.to(tl.float32)
    silu = (exact * tl.sigmoid(exact)).to(gate.dtype).to(tl.float32)
    tl.store(activated + token * SIZE + dims, (silu * up.to(tl.float32)).to(gate.dtype), mask=is_dim)


@triton.jit(do_not_specialize_on_alignment=["slot_mapping"])
def write_kernel(
    new_keys,  # [num_tokens, num_kv_heads, KEY_SIZE], any strides, but 1 in the last dimension
    new_values,  # [num_tokens, num_kv_heads, VALUE_SIZE], likewise
    keys,  # [num_slots, num_kv_heads, KEY_SIZE]
    values,  # [num_slots, num_kv_heads, VALUE_SIZE]
    slot_mapping,  # int64 [num_tokens]; a token without a slot has a negative one
    key_token_stride,
    key_head_stride,
    value_token_stride,
    value_head_stride,
    NUM_KV_HEADS: tl.constexpr,
    KEY_SIZE: tl.constexpr,
    VALUE_SIZE: tl.constexpr,
    HEADS_PADDED: tl.constexpr,
    KEY_PADDED: tl.constexpr,
    VALUE_PADDED: tl.constexpr,
):
    """Store one token's keys and values in its slot."""
    token = tl.program_id(0).to(tl.int64)
    slot = tl.load(slot_mapping + token)
    heads = tl.arange(0, HEADS_PADDED).to(tl.int64)[:, None]
    key_dims, value_dims = tl.arange(0, KEY_PADDED)[None, :], tl.arange(0, VALUE_PADDED)[None, :]
    is_head = heads < NUM_KV_HEADS
    is_key, is_value = is_head & (key_dims < KEY_SIZE), is_head & (value_dims < VALUE_SIZE)
    if slot >= 0:
        key = tl.load(new_keys + token * key_token_stride + heads * key_head_stride + key_dims, mask=is_key)
        value = tl.load(new_values + token * value_token_stride + heads * value_head_stride + value_dims, mask=is_value)
        tl.store(keys + (slot * NUM_KV_HEADS + heads) * KEY_SIZE + key_dims, key, mask=is_key)
        tl.store(values + (slot * NUM_KV_HEADS + heads) * VALUE_SIZE + value_dims, value, mask=is_value)
