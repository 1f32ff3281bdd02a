"""Draws from more of the most likely tokens than were sorted, on the device."""

from __future__ import annotations

import torch
import triton

from app.model.draws import Truncated
from app.model.triton.nucleus_kernels import draw_beyond_kernel

TILE = 4096
NUM_WARPS = 32


def draw_beyond(rows: Truncated, token_ids: torch.Tensor) -> None:
    """Change `token_ids` where the candidates lack something. Nobody waits to know where."""
    num_rows, vocab_size = rows.probabilities.shape
    draw_beyond_kernel[(num_rows,)](
        rows.probabilities,
        rows.candidates,
        rows.lacking,
        rows.top_k,
        rows.top_p,
        rows.min_p,
        rows.draws,
        token_ids,
        VOCAB=vocab_size,
        NUM_CANDIDATES=rows.candidates.shape[1],
        TILE=min(TILE, triton.next_power_of_2(vocab_size)),
        num_warps=NUM_WARPS,
    )
