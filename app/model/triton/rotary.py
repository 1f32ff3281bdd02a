"""How queries and keys are normed and rotated by their positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton

from app.model.triton.launch import launch_options
from app.model.triton.small_kernels import rotate_and_store_kernel

HEADS_AT_ONCE = 8
"""Of one token, queries', keys' and values' counted alike."""


@dataclass(frozen=True, slots=True)
class Rotary:
    """Norms `[head_size]`; tables float32 `[num_positions, head_size / 2]` (Su et al. 2021)."""

    query_norm: torch.Tensor | None
    key_norm: torch.Tensor | None
    epsilon: float
    cosines: torch.Tensor
    sines: torch.Tensor


def rotate_and_store(
    qkv: torch.Tensor,
    rotary: Rotary,
    keys: torch.Tensor,
    values: torch.Tensor,
    positions: torch.Tensor,
    slot_mapping: torch.Tensor,
) -> None:
    """Change queries and keys in `[num_tokens, num_heads + 2 * num_kv_heads, head_size]`, and store keys and values in
    their slots of one layer's cache; < 0 is no slot."""
    num_tokens, num_all_heads, head_size = qkv.shape
    num_kv_heads = keys.shape[2]
    rotate_and_store_kernel[(num_tokens, triton.cdiv(num_all_heads, HEADS_AT_ONCE))](
        qkv,
        rotary.query_norm,
        rotary.key_norm,
        rotary.cosines,
        rotary.sines,
        positions,
        slot_mapping,
        keys,
        values,
        rotary.epsilon,
        NUM_HEADS=num_all_heads - 2 * num_kv_heads,
        NUM_KV_HEADS=num_kv_heads,
        SIZE=head_size,
        HALF=head_size // 2,
        HALF_PADDED=triton.next_power_of_2(head_size // 2),
        TILE_H=HEADS_AT_ONCE,
        HAS_NORMS=rotary.query_norm is not None,
        num_warps=4,
        **launch_options(qkv.device),
    )
