"""From a row of logits to a token: the most likely one, or one drawn by temperature from all or the most likely ones.

It is drawn where a uniform number falls in the cumulative distribution, in the vocabulary's order. The number is a hash
of a sequence's seed and the position, so that what is drawn depends on nothing but these and the row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from app.model.transfer import columns, to_device
from app.scheduler.batch import NO_TOKEN, Sampled

NUM_CANDIDATES = 256
"""Most likely tokens that are looked at first: sorting a vocabulary of 150,000 for every row would take longer than a
small model's step."""

Sampler = Callable[[torch.Tensor, list[Sampled]], torch.Tensor]
"""From logits `[num_rows, vocab]` to int64 tokens `[num_rows]`: `NO_TOKEN` where the largest logit is not finite (NaN
counts as large)."""


def find_most_likely(logits: torch.Tensor) -> torch.Tensor:
    """The first of the largest logits of each row, or `NO_TOKEN`; on the CPU numpy is 6 times as fast as torch."""
    if logits.device.type != "cpu":
        largest, token_ids = logits.max(-1)
        return token_ids.where(largest.abs() < torch.inf, NO_TOKEN)
    values = logits.float().numpy()
    found = values.argmax(-1)
    found[~np.isfinite(values[np.arange(len(found)), found])] = NO_TOKEN
    return torch.from_numpy(found)


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


def _draw_whole(logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
    """Draw from the whole vocabulary."""
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
    """Rows to draw from their most likely tokens only, in float32: `probabilities` `[num_rows, vocab]`, all else
    `[num_rows, 1]`. `top_k`: the vocabulary's size where that is not limited."""

    probabilities: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor
    min_p: torch.Tensor
    draws: torch.Tensor

    def __getitem__(self, rows: torch.Tensor) -> Truncated:
        return Truncated(*(getattr(self, name).index_select(0, rows) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Drawn:
    """Tokens `[num_rows]` from `candidates` `[num_rows, n]`, the largest probabilities in order; and where these are
    `lacking`, bool `[num_rows, 1]`, since more than them is to be drawn from: there a token means nothing."""

    token_ids: torch.Tensor
    candidates: torch.Tensor
    lacking: torch.Tensor


DrawBeyond = Callable[[Truncated, Drawn], None]
"""Puts into `token_ids` what rows draw that lack candidates."""


def _draw_truncated(logits: torch.Tensor, sequences: list[Sampled], draw_beyond: DrawBeyond) -> torch.Tensor:
    """Draw from the most likely tokens only: the `top_k` first, of these the smallest set that holds `top_p`, of
    these the ones at least `min_p` times as likely as the first (the nucleus: Holtzman et al. 2020)."""
    vocab_size = logits.shape[-1]
    params = [sequence.params for sequence in sequences]
    most = [min(p.top_k or vocab_size, vocab_size) for p in params]
    temperature, *limits = columns(
        logits.device,
        [p.temperature for p in params],
        most,
        [p.top_p for p in params],
        [p.min_p for p in params],
        uniforms(sequences),
    )
    rows = Truncated((logits / temperature).softmax(-1), *limits)
    drawn = _draw_from(rows, min(max(most), NUM_CANDIDATES))
    if max(most) > NUM_CANDIDATES:
        draw_beyond(rows, drawn)
    return drawn.token_ids


def _draw_from(rows: Truncated, num_candidates: int) -> Drawn:
    vocab_size = rows.probabilities.shape[-1]
    candidates, token_ids = rows.probabilities.topk(num_candidates)
    weights = candidates.masked_fill(torch.arange(num_candidates, device=candidates.device) >= rows.top_k, 0)
    weight = weights.sum(-1, keepdim=True)
    is_limited = rows.top_k < vocab_size
    before = weights.cumsum(-1) - weights
    is_out = (before >= rows.top_p * weight.where(is_limited, 1)) | (weights < weights[:, :1] * rows.min_p)
    token_ids, order = token_ids.sort(-1)
    chosen = _invert(weights.masked_fill(is_out, 0).gather(1, order), rows.draws)
    lacking = (rows.top_k > num_candidates) & (is_limited | (weight < rows.top_p))
    return Drawn(token_ids.gather(1, chosen[:, None])[:, 0], candidates, lacking)


def sort_more(rows: Truncated, drawn: Drawn) -> None:
    """Draw from 16 times as many candidates while they do not suffice. Waits for the device to know where."""
    lacking = drawn.lacking[:, 0].nonzero()[:, 0]
    num_candidates = drawn.candidates.shape[1]
    while len(lacking):
        num_candidates = min(16 * num_candidates, rows.probabilities.shape[-1])
        again = _draw_from(rows[lacking], num_candidates)
        drawn.token_ids.index_copy_(0, lacking, again.token_ids)
        lacking = lacking[again.lacking[:, 0]]


def _invert(probabilities: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Invert the cumulative distribution of (unnormalised) probabilities at each row's uniform number.

    The first entry whose cumulative sum exceeds `u * total` has a probability above 0, since u < 1.
    """
    precise = torch.float32 if probabilities.device.type == "mps" else torch.float64
    cumulative = probabilities.cumsum(-1, dtype=precise)
    found = torch.searchsorted(cumulative, draws.to(precise) * cumulative[:, -1:], right=True)
    return found[:, 0].clamp(max=probabilities.shape[-1] - 1)


def sample_tokens(
    logits: torch.Tensor,
    sequences: list[Sampled],
    most_likely: Callable[[torch.Tensor], torch.Tensor] = find_most_likely,
    draw_beyond: DrawBeyond = sort_more,
) -> torch.Tensor:
    """The `Sampler` by torch's operators, but for the parts that are given."""
    drawn = [index for index, sequence in enumerate(sequences) if sequence.params.temperature > 0]
    if not drawn:
        return most_likely(logits)
    logits = logits.float()
    largest = most_likely(logits)
    token_ids = largest.clone()
    truncated = [index for index in drawn if sequences[index].params.top_k or sequences[index].params.top_p < 1]
    whole = sorted(set(drawn) - set(truncated))
    draw_truncated = partial(_draw_truncated, draw_beyond=draw_beyond)
    for draw, rows in ((draw_truncated, truncated), (_draw_whole, whole)):
        if rows:
            at = to_device(np.array(rows), logits.device)
            tokens = draw(logits.index_select(0, at), [sequences[index] for index in rows])
            token_ids.index_copy_(0, at, tokens)
    return token_ids.where(largest != NO_TOKEN, NO_TOKEN)
