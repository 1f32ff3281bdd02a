"""Split-KV attention: a row's keys are divided among programs, whose results are merged (Flash-Decoding)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton

from app.model.triton.kernels import merge_kernel
from app.model.triton.launch import launch_options


@dataclass(frozen=True, slots=True)
class Splits:
    """Attention over `num_splits` splits of the keys, to be merged.

    `outputs`: float32 `[num_splits, num_tokens, num_heads, value_size]`; `statistics`: float32 `[num_splits,
    num_tokens, num_heads, 2]`, the largest score and the sum of exponentials relative to it.
    """

    outputs: torch.Tensor
    statistics: torch.Tensor

    @classmethod
    def empty(cls, num_splits: int, num_tokens: int, like: torch.Tensor) -> Splits:
        """For `like`, which is `[…, num_heads, value_size]`."""
        shape = (num_splits, num_tokens, like.shape[1])
        return cls(
            like.new_empty((*shape, like.shape[2]), dtype=torch.float32),
            like.new_empty((*shape, 2), dtype=torch.float32),
        )

    def merge_into(self, output: torch.Tensor, tokens: range, sinks: torch.Tensor | None) -> None:
        num_splits, num_tokens, num_heads, value_size = self.outputs.shape
        merge_kernel[(len(tokens), num_heads)](
            self.outputs,
            self.statistics,
            output,
            sinks,
            tokens.start,
            num_tokens,
            num_splits,
            NUM_HEADS=num_heads,
            VALUE_SIZE=value_size,
            VALUE_PADDED=triton.next_power_of_2(value_size),
            SPLITS_PADDED=triton.next_power_of_2(num_splits),
            HAS_SINKS=sinks is not None,
            **launch_options(output.device),
        )
