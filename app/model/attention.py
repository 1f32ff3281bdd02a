"""How the attention layers of transformers' modules reach the paged cache.

Models are transformers' own. Each attention layer calls the function registered here under `paged`, which hands its
arguments to the attention of the current step. That attention is a context variable, since it cannot ride through the
model's keyword arguments: some models hand none of them on to their layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import torch

from app.model.transformers_internals import register_attention

NAME = "paged"
TRACED = "paged-traced"
"""The same attention, with masks that say what a layer sees (`app.model.loading.masks`)."""


class Attention(Protocol):
    """One step's attention. Shapes are transformers': batch 1, then `[heads, num_tokens, head_size]`.

    Returns `[1, num_tokens, num_heads, value_size]`. `softcap` bounds scores by `softcap * tanh(score / softcap)`.
    `s_aux` holds one attention sink per head: an extra score that takes probability but has no value. How far a layer
    sees is its `LayerShape.window`, whatever its module says, since transformers' eager attention goes by the mask
    alone.
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
    """Make this the attention of every model that runs inside."""
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

    No mask function is registered with it, so transformers builds no mask at all. With one, it would look for packed
    sequences in every step, which waits for the device.
    """
    register_attention(NAME, _attend)
    register_attention(TRACED, _attend)
