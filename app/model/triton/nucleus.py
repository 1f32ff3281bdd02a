"""Draws from more of the most likely tokens than were sorted, on the device."""

from __future__ import annotations

import triton

from app.model.choosing import Drawn, Truncated
from app.model.triton.nucleus_kernels import draw_beyond_kernel

TILE = 4096
NUM_WARPS = 32


def draw_beyond(rows: Truncated, drawn: Drawn) -> None:
    """Put into `token_ids` what rows draw that lack candidates. Nobody waits to know which these are."""
    num_rows, vocab_size = rows.probabilities.shape
    draw_beyond_kernel[(num_rows,)](
        rows.probabilities,
        drawn.candidates,
        drawn.lacking,
        rows.top_k,
        rows.top_p,
        rows.min_p,
        rows.draws,
        drawn.token_ids,
        VOCAB=vocab_size,
        NUM_CANDIDATES=drawn.candidates.shape[1],
        TILE=min(TILE, triton.next_power_of_2(vocab_size)),
        num_warps=NUM_WARPS,
    )
