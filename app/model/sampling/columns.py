"""What decides the draw of each sampled row, as numbers: built once on the host, read by every sampler.

Torch's operators, the C kernels (`Draw` in `native/sampling.h`) and Triton's kernels all read the same float32 matrix,
one column per number. To add a number: name it here, fill it, and use it in the three of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from app.scheduler.batch import Sampled


class SamplingColumns(NamedTuple):
    """Float32 `[num_rows, 1]` each, in the order of the matrix.

    `temperature` 0 takes the most likely token. `top_k` is the size of the vocabulary where it is off; `top_p` 1 and
    `min_p` 0 are off. `uniform` is in [0, 1): where in the cumulative distribution the row's token is.
    """

    temperature: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor
    min_p: torch.Tensor
    uniform: torch.Tensor

    @classmethod
    def of(cls, matrix: torch.Tensor) -> SamplingColumns:
        return cls(*matrix.unsqueeze(1).unbind(2))


COLUMNS = SamplingColumns._fields


def build_columns(sequences: list[Sampled], vocab_size: int) -> NDArray[np.float32]:
    """Float32 `[num_sequences, len(COLUMNS)]`, which holds every `top_k` up to 2**24 and every `uniform` exactly."""
    params = [sequence.params for sequence in sequences]
    matrix = np.empty((len(params), len(COLUMNS)), dtype=np.float32)
    matrix.T[:] = (
        [p.temperature for p in params],
        [min(p.top_k or vocab_size, vocab_size) for p in params],
        [p.top_p for p in params],
        [p.min_p for p in params],
        uniforms(sequences),
    )
    return matrix


def column(matrix: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """One column of the matrix, `[num_rows]`."""
    return matrix[:, COLUMNS.index(name)]


def uniforms(sequences: list[Sampled]) -> NDArray[np.float64]:
    """A multiple of 2**-24 in [0, 1) for each sequence: splitmix64 (Steele et al. 2014) of its seed and position.

    It depends on nothing else, so the same seed gives the same tokens whatever else is in the batch.
    """
    with np.errstate(over="ignore"):
        seeds = np.array([sequence.params.seed for sequence in sequences], dtype=np.uint64)
        positions = np.array([sequence.num_tokens for sequence in sequences], dtype=np.uint64)
        bits = _mix(_mix(seeds) + positions * np.uint64(0x9E3779B97F4A7C15))
    return (bits >> np.uint64(40)).astype(np.float64) * 2.0**-24


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
