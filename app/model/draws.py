"""A token from a row of logits: by temperature, of the most likely ones, at the place that a uniform number says.

The number is a hash of a sequence's seed and the position, so that what is drawn depends on nothing but these and the
row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from app.model.transfer import columns
from app.scheduler.batch import Sampled

NUCLEUS_CANDIDATES = 256
"""Top-p alone first looks at this many of the most likely tokens, and at 16 times as many while they do not suffice:
sorting a vocabulary of 150,000 for every row would take longer than a small model's step."""


def uniforms(sequences: list[Sampled]) -> NDArray[np.float64]:
    """One float64 in [0, 1) per sequence: splitmix64 (Steele et al. 2014) of its seed and the position it draws for."""
    with np.errstate(over="ignore"):
        seeds = np.array([sequence.params.seed for sequence in sequences], dtype=np.uint64)
        positions = np.array([sequence.num_tokens for sequence in sequences], dtype=np.uint64)
        bits = _mix(_mix(seeds) + positions * np.uint64(0x9E3779B97F4A7C15))
    return (bits >> np.uint64(40)).astype(np.float64) * 2.0**-24


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def draw_whole(logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
    """Draw from the whole vocabulary, in its own order: nothing is sorted."""
    params = [sequence.params for sequence in sequences]
    min_p = [p.min_p for p in params]
    temperature, share, draws = columns(logits.device, [p.temperature for p in params], min_p, uniforms(sequences))
    probabilities = (logits / temperature).softmax(-1)
    if any(min_p):
        floor = probabilities.amax(-1, keepdim=True) * share
        probabilities = probabilities.masked_fill(probabilities < floor, 0)
    return _invert(probabilities, draws)


@dataclass(frozen=True, slots=True)
class Truncated:
    """Rows to draw from their most likely tokens only, in float32. `candidates` `[num_rows, n]` are the largest of
    `probabilities` `[num_rows, vocab]`, in order; all else is `[num_rows, 1]`. `lacking`: bool, where these are not all
    that is to be drawn from. `top_k`: the vocabulary's size where that is not limited."""

    probabilities: torch.Tensor
    candidates: torch.Tensor
    lacking: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor
    min_p: torch.Tensor
    draws: torch.Tensor


DrawBeyond = Callable[[Truncated, torch.Tensor], None]
"""Draws the rows that lack candidates, and puts their tokens where they belong in `[num_rows]`."""


def draw_truncated(logits: torch.Tensor, sequences: list[Sampled], draw_beyond: DrawBeyond | None) -> torch.Tensor:
    """Draw from the most likely tokens only: the `top_k` first, of these the smallest set that holds `top_p`, of
    these the ones at least `min_p` times as likely as the first (the nucleus: Holtzman et al. 2020)."""
    vocab_size = logits.shape[-1]
    params = [sequence.params for sequence in sequences]
    most = [min(p.top_k or vocab_size, vocab_size) for p in params]
    temperature, top_k, top_p, min_p, draws = columns(
        logits.device,
        [p.temperature for p in params],
        most,
        [p.top_p for p in params],
        [p.min_p for p in params],
        uniforms(sequences),
    )
    probabilities = (logits / temperature).softmax(-1)
    unlimited = top_k >= vocab_size
    num_candidates = min(vocab_size, max(k if k < vocab_size else NUCLEUS_CANDIDATES for k in most))
    if draw_beyond:
        num_candidates = min(num_candidates, NUCLEUS_CANDIDATES)
    while True:
        largest, candidates = probabilities.topk(num_candidates)
        weights = largest.masked_fill(torch.arange(num_candidates, device=logits.device) >= top_k, 0)
        weight = weights.sum(-1, keepdim=True)
        lacking = (top_k > num_candidates) & (~unlimited | (weight < top_p))
        # The one place where sampling waits for the device, without `draw_beyond`: top-p without top-k.
        if draw_beyond or max(most) < vocab_size or num_candidates == vocab_size or not bool(lacking.any()):
            break
        num_candidates = min(vocab_size, 16 * num_candidates)
    before = weights.cumsum(-1) - weights
    is_out = (before >= top_p * weight.masked_fill(unlimited, 1)) | (weights < weights[:, :1] * min_p)
    token_ids = candidates.gather(1, _invert(weights.masked_fill(is_out, 0), draws)[:, None])[:, 0]
    if draw_beyond and max(most) > num_candidates:
        draw_beyond(Truncated(probabilities, largest, lacking, top_k, top_p, min_p, draws), token_ids)
    return token_ids


def _invert(probabilities: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Invert the cumulative distribution of (unnormalised) probabilities at each row's uniform number.

    The first entry whose cumulative sum exceeds `u * total` has a probability above 0, since u < 1.
    """
    precise = torch.float32 if probabilities.device.type == "mps" else torch.float64
    cumulative = probabilities.cumsum(-1, dtype=precise)
    found = torch.searchsorted(cumulative, draws.to(precise) * cumulative[:, -1:], right=True)
    return found[:, 0].clamp(max=probabilities.shape[-1] - 1)
