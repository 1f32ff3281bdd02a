"""Attention over the paged cache, and the door through which transformers' modules reach it.

Models are transformers' own; each attention layer calls the function that is registered here under `paged`
(`AttentionInterface`), and the step's batch rides to it through the model's keyword arguments as `attention`.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from transformers import AttentionInterface

NAME = "paged"


class Attention(Protocol):
    """One step's attention. Shapes are transformers': batch 1, then `[heads, num_tokens, head_size]`.

    Returns `[1, num_tokens, num_heads, value_size]`. `sliding_window` counts the tokens visible including the
    token itself; `softcap` bounds scores by `softcap * tanh(score / softcap)`; `s_aux` holds one attention sink
    per head, an extra score that takes probability but has no value.
    """

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
        **others: Any,
    ) -> torch.Tensor: ...


def _paged(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001
    *,
    attention: Attention,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    return attention(module, query, key, value, **options), None


def register() -> None:
    """Make `attn_implementation="paged"` known to transformers.

    No mask function goes with it: transformers then builds no mask at all. With one, it would look for packed
    sequences in every step, which waits for the device.
    """
    AttentionInterface.register(NAME, _paged)
