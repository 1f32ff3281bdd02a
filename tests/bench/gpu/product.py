"""Products of few rows to measure, by the Triton kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tests.bench.gpu.scale import Scale

MAX_BYTES = 256 << 20
"""Of matrices that are used in turn, so that none is found in the chip's cache."""


@dataclass(frozen=True, slots=True)
class Product:
    """`size` inputs to `num_outputs`: of a norm, gated, or else added to what is there."""

    num_outputs: int
    size: int
    of_norm: bool = False
    is_gated: bool = False

    def make(self, scale: Scale, num_rows: int) -> Callable[[], torch.Tensor]:
        """Many in a row, each of another matrix."""
        from app.model.triton.products import add_product, gated_of_norm, of_norm

        num_outputs, size = scale.of(self.num_outputs, 40), scale.of(self.size, 48)
        shape = (num_outputs * (1 + self.is_gated), size)
        count = max(1, min(32, MAX_BYTES // (2 * shape[0] * shape[1]), scale.of(32, 1)))
        made = {"device": scale.device, "dtype": scale.dtype}
        matrices = [torch.randn(shape, **made) for _ in range(count)]
        inputs, norm = torch.randn(num_rows, size, **made), torch.randn(size, **made)
        sums = torch.zeros(num_rows, num_outputs, **made)

        def run() -> torch.Tensor:
            given = sums
            for matrix in matrices:
                if self.is_gated:
                    given = gated_of_norm(inputs, norm, 1e-6, matrix)
                elif self.of_norm:
                    given = of_norm(inputs, norm, 1e-6, matrix)
                else:
                    add_product(sums, inputs, matrix)
            return given

        return run
