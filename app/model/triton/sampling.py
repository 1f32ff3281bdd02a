"""Sampling on Triton: kernels for the parts that are slow by torch's operators, or that make the host wait."""

from __future__ import annotations

import torch
import triton

from app.model.sampling import draw
from app.model.sampling.draw import Drawn, Truncated
from app.model.triton.sampling_kernels import draw_beyond_kernel, gather_most_likely_kernel, most_likely_kernel
from app.model.triton.tiling import MAX_SPLITS, decode_splits
from app.scheduler.batch import Sampled

TILE = 4096
DRAWING_WARPS, READING_WARPS = 32, 8


def sample_tokens(logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
    """The `Sampler` on a device that has Triton."""
    return draw.sample_tokens(logits, sequences, most_likely, draw_beyond)


def most_likely(logits: torch.Tensor) -> torch.Tensor:
    """Read the logits once, in enough parts to fill the chip; torch reads them at a third of the memory bandwidth."""
    num_rows, vocab_size = logits.shape
    num_parts = decode_splits(num_rows, logits.device)
    largest = logits.new_empty(num_rows, num_parts, dtype=torch.float32)
    first = logits.new_empty(num_rows, num_parts, dtype=torch.int32)
    token_ids = logits.new_empty(num_rows, dtype=torch.int64)
    most_likely_kernel[(num_rows, num_parts)](
        logits, largest, first, num_parts, VOCAB=vocab_size, TILE=_tile_of(vocab_size), num_warps=READING_WARPS
    )
    gather_most_likely_kernel[(num_rows,)](
        largest, first, token_ids, num_parts, VOCAB=vocab_size, MAX_PARTS=MAX_SPLITS, num_warps=1
    )
    return token_ids


def draw_beyond(rows: Truncated, drawn: Drawn) -> None:
    """The `DrawBeyond` that leaves it to the device to know which rows lack candidates; the host does not wait."""
    num_rows, vocab_size = rows.probabilities.shape
    draw_beyond_kernel[(num_rows,)](
        rows.probabilities,
        drawn.candidates,
        drawn.lacking,
        rows.columns,
        drawn.token_ids,
        VOCAB=vocab_size,
        NUM_CANDIDATES=drawn.candidates.shape[1],
        TILE=_tile_of(vocab_size),
        num_warps=DRAWING_WARPS,
    )


def _tile_of(vocab_size: int) -> int:
    return int(min(TILE, triton.next_power_of_2(vocab_size)))
