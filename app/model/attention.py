"""Attention over the paged cache, and the door through which transformers' modules reach it.

Models are transformers' own; each attention layer calls the function that is registered here under `paged`
(`AttentionInterface`), which hands on to what the step attends with. That does not ride through the model's keyword
arguments, since some models hand none on to their layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import torch
from transformers import AttentionInterface

NAME = "paged"
TRACED = "paged-traced"
"""The same with masks, which say what a layer sees (`app.model.loading.masks`)."""


class Attention(Protocol):
    """One step's attention. Shapes are transformers': batch 1, then `[heads, num_tokens, head_size]`.

    Returns `[1, num_tokens, num_heads, value_size]`. `softcap` bounds scores by `softcap * tanh(score / softcap)`;
    `s_aux` holds one attention sink per head, an extra score that takes probability but has no value. How far a layer
    sees is its `LayerShape.window`, whatever its module says: transformers' eager attention goes by the mask alone.
    """

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
        **others: Any,
    ) -> torch.Tensor: ...


_current: ContextVar[Attention] = ContextVar("attention")


@contextmanager
def using(attention: Attention) -> Iterator[None]:
    """Models that are run inside attend with this."""
    token = _current.set(attention)
    try:
        yield
    finally:
        _current.reset(token)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    return _current.get()(module, query, key, value, attention_mask=attention_mask, **options), None


def register() -> None:
    """Make `attn_implementation="paged"` known to transformers.

    No mask function goes with it: transformers then builds no mask at all. With one, it would look for packed
    sequences in every step, which waits for the device.
    """
    AttentionInterface.register(NAME, _attend)
    AttentionInterface.register(TRACED, _attend)
