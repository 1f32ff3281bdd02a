"""The paged key/value cache: one tensor of blocks for the keys and one for the values of each layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What one attention layer stores per token: `num_kv_heads` keys and values of these sizes.

    `window`: how many tokens a token sees, itself included; None if it sees all before it.
    """

    num_kv_heads: int
    key_size: int
    value_size: int
    window: int | None = None

    @property
    def num_elements(self) -> int:
        return self.num_kv_heads * (self.key_size + self.value_size)


class KVCache:
    """`keys[layer]` and `values[layer]` have shape `[num_blocks, block_size, num_kv_heads, head_size]`.

    A token's slot is `block_id * block_size + offset`. After a sequence's last token, a block holds whatever its last
    owner left there, NaN included. Blocks start as zeros only to make sure that their memory can be had.
    """

    def __init__(
        self,
        layers: list[LayerShape],
        num_blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.block_size = block_size
        self.layers = layers
        self.dtype = dtype
        self._device = device
        self.resize(num_blocks)

    def resize(self, num_blocks: int) -> None:
        """Replace all blocks by `num_blocks` new ones, at other addresses; what was stored is lost."""
        self.num_blocks = num_blocks

        def blocks(layer: LayerShape, head_size: int) -> torch.Tensor:
            shape = (num_blocks, self.block_size, layer.num_kv_heads, head_size)
            return torch.zeros(shape, dtype=self.dtype, device=self._device)

        self.keys = [blocks(layer, layer.key_size) for layer in self.layers]
        self.values = [blocks(layer, layer.value_size) for layer in self.layers]
        self._key_slots = [keys.flatten(0, 1) for keys in self.keys]
        self._value_slots = [values.flatten(0, 1) for values in self.values]

    @property
    def bytes_per_block(self) -> int:
        return self.block_size * self.dtype.itemsize * sum(layer.num_elements for layer in self.layers)

    def write(self, layer: int, keys: torch.Tensor, values: torch.Tensor, slot_mapping: torch.Tensor) -> None:
        """Store `[num_tokens, num_kv_heads, head_size]` keys and values in each token's slot."""
        self._key_slots[layer].index_copy_(0, slot_mapping, keys)
        self._value_slots[layer].index_copy_(0, slot_mapping, values)
