"""What a layer sees, read from the mask that transformers would build for it.

Some models say only in their mask that they have a window, so no mask is assumed to be plainly causal. transformers
describes a mask as a function of positions before it makes a tensor of it, and that function is probed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from app.model.transformers_internals import register_masks

Sees = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], Any]
"""Whether (sequence, head, position of the query, position of the key) is visible, elementwise."""

NEAR = 64
"""Every position within this distance of either end is probed; between them, only those around powers of two."""


class UnknownMask(ValueError):
    """The mask is neither causal nor a causal window; the message says what it is."""


class Mask(torch.Tensor):
    """A mask without values that carries the function it would be made from.

    Tensors computed from it are plain ones: a model that changes its mask is found out by that.
    """

    sees: Sees
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def of(cls, shape: tuple[int, ...], sees: Sees) -> Mask:
        mask = torch.empty(shape, dtype=torch.bool, device="meta").as_subclass(cls)
        mask.sees = sees
        return mask


def describe_masks(name: str) -> None:
    """Have transformers give models of this attention implementation a `Mask` wherever it would build a tensor."""
    register_masks(name, _describe)


def _describe(*, batch_size: int = 1, kv_length: int, mask_function: Sees, **_: Any) -> Mask:
    return Mask.of((batch_size, 1, 1, kv_length), mask_function)


def window_of(sees: Sees, length: int) -> int | None:
    """How many tokens each token sees, itself included, in sequences of up to `length`; None if it sees all before it.

    Raises UnknownMask.
    """
    last = length - 1
    visible = int(_probe(sees, torch.tensor([[last]]), torch.arange(length)[None]).sum())
    if visible == 0:
        raise UnknownMask("its mask shows a token nothing, not even itself")
    powers = [1 << exponent for exponent in range(length.bit_length())]
    probed = {*range(NEAR), *(last - back for back in range(NEAR)), *powers, *(power - 1 for power in powers)}
    queries = torch.tensor(sorted(position for position in probed if 0 <= position < length))[:, None]
    away = torch.tensor([*range(-NEAR, NEAR), *powers, visible - 1, visible, visible + 1])
    keys = (queries - away).clamp(0, last)
    distances = queries - keys
    seen = _probe(sees, queries, keys)
    if (seen & (distances < 0)).any():
        raise UnknownMask("its attention is not causal")
    if not torch.equal(seen, (distances >= 0) & (distances < visible)):
        raise UnknownMask("its mask is neither causal nor a sliding window")
    return None if visible == length else visible


def _probe(sees: Sees, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    first = torch.zeros(1, 1, dtype=torch.int64)
    try:
        seen = torch.as_tensor(sees(first, first, queries, keys))
    except (NotImplementedError, RuntimeError) as error:
        raise UnknownMask(_OF_VALUES) from error
    if seen.is_meta:
        raise UnknownMask(_OF_VALUES)
    return seen.expand_as(queries - keys)


_OF_VALUES = "its mask depends on more than positions"
"""It reads a tensor of the model, which has no values on the meta device."""
