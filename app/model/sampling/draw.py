"""Sampling by torch's operators: from a row of logits to its most likely token, or to one drawn by temperature.

A drawn token is where the row's uniform number falls in the cumulative distribution, in the vocabulary's order. What is
drawn depends on nothing but the row and its `SamplingColumns`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from app.model.sampling.columns import SamplingColumns, build_columns, column
from app.model.transfer import to_device
from app.scheduler.batch import NO_TOKEN, Sampled

NUM_CANDIDATES = 256
"""How many of the most likely tokens are tried first: sorting a vocabulary of 150,000 for every row would take longer
than a small model's step."""

Sampler = Callable[[torch.Tensor, list[Sampled]], torch.Tensor]
"""From logits `[num_rows, vocab]` to int64 tokens `[num_rows]`: `NO_TOKEN` where the largest logit is not finite (NaN
counts as larger than any number)."""


def find_most_likely(logits: torch.Tensor) -> torch.Tensor:
    """The first of the largest logits of each row, or `NO_TOKEN`; on the CPU numpy is 6 times as fast as torch."""
    if logits.device.type != "cpu":
        largest, token_ids = logits.max(-1)
        return token_ids.where(largest.abs() < torch.inf, NO_TOKEN)
    values = logits.float().numpy()
    found = values.argmax(-1)
    found[~np.isfinite(values[np.arange(len(found)), found])] = NO_TOKEN
    return torch.from_numpy(found)


def _draw_from_all(logits: torch.Tensor, matrix: NDArray[np.float32]) -> torch.Tensor:
    """Draw from the whole vocabulary, except from tokens less than `min_p` times as likely as the first."""
    columns = SamplingColumns.of(to_device(matrix, logits.device))
    probabilities = (logits / columns.temperature).softmax(-1)
    if any(column(matrix, "min_p").tolist()):
        floor = probabilities.amax(-1, keepdim=True) * columns.min_p
        probabilities = probabilities.masked_fill(probabilities < floor, 0)
    return _invert(probabilities, columns.uniform)


@dataclass(frozen=True, slots=True)
class Truncated:
    """Rows to draw from their most likely tokens only.

    `probabilities`: float32 `[num_rows, vocab]`. `columns`: float32 `[num_rows, len(COLUMNS)]`.
    """

    probabilities: torch.Tensor
    columns: torch.Tensor

    def __getitem__(self, rows: torch.Tensor) -> Truncated:
        return Truncated(self.probabilities.index_select(0, rows), self.columns.index_select(0, rows))


@dataclass(frozen=True, slots=True)
class Drawn:
    """Tokens `[num_rows]` drawn from `candidates` `[num_rows, n]`, the largest probabilities in descending order.

    `lacking`, bool `[num_rows, 1]`: the row is to be drawn from more tokens than its candidates, and its token means
    nothing.
    """

    token_ids: torch.Tensor
    candidates: torch.Tensor
    lacking: torch.Tensor


DrawBeyond = Callable[[Truncated, Drawn], None]
"""Replaces the `token_ids` of rows that lack candidates."""


def _draw_truncated(logits: torch.Tensor, matrix: NDArray[np.float32], draw_beyond: DrawBeyond) -> torch.Tensor:
    """Draw from the most likely tokens only: the first `top_k`, of these the smallest set that holds `top_p` (the
    nucleus: Holtzman et al. 2020), of these the ones at least `min_p` times as likely as the first."""
    on_device = to_device(matrix, logits.device)
    columns = SamplingColumns.of(on_device)
    probabilities = (logits / columns.temperature).softmax(-1)
    max_top_k = int(max(column(matrix, "top_k").tolist()))
    token_ids, candidates, weight = _draw_from_candidates(probabilities, columns, min(max_top_k, NUM_CANDIDATES))
    if max_top_k > NUM_CANDIDATES:
        lacking = _find_lacking(columns, candidates, weight, probabilities.shape[-1])
        draw_beyond(Truncated(probabilities, on_device), Drawn(token_ids, candidates, lacking))
    return token_ids


def _draw_from_candidates(
    probabilities: torch.Tensor, columns: SamplingColumns, num_candidates: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens `[num_rows]`, the candidates' probabilities, and the weight `[num_rows, 1]` of those within `top_k`."""
    vocab_size = probabilities.shape[-1]
    candidates, token_ids = probabilities.topk(num_candidates)
    ranks = torch.arange(num_candidates, device=candidates.device)
    weights = candidates.masked_fill(ranks >= columns.top_k, 0)
    weight = weights.sum(-1, keepdim=True)
    before = weights.cumsum(-1) - weights
    nucleus = columns.top_p * weight.where(columns.top_k < vocab_size, 1)
    is_out = (before >= nucleus) | (weights < weights[:, :1] * columns.min_p)
    token_ids, order = token_ids.sort(-1)
    indices = _invert(weights.masked_fill(is_out, 0).gather(1, order), columns.uniform)
    return token_ids.gather(1, indices[:, None])[:, 0], candidates, weight


def _find_lacking(
    columns: SamplingColumns, candidates: torch.Tensor, weight: torch.Tensor, vocab_size: int
) -> torch.Tensor:
    """Bool `[num_rows, 1]`: which rows are to be drawn from more tokens than these candidates."""
    is_limited = columns.top_k < vocab_size
    return (columns.top_k > candidates.shape[1]) & (is_limited | (weight < columns.top_p))


def sort_more(rows: Truncated, drawn: Drawn) -> None:
    """Draw from 16 times as many candidates while there are too few. Waits for the device to learn for which rows."""
    lacking = drawn.lacking[:, 0].nonzero()[:, 0]
    num_candidates, vocab_size = drawn.candidates.shape[1], rows.probabilities.shape[-1]
    while len(lacking):
        num_candidates = min(16 * num_candidates, vocab_size)
        rest = rows[lacking]
        columns = SamplingColumns.of(rest.columns)
        token_ids, candidates, weight = _draw_from_candidates(rest.probabilities, columns, num_candidates)
        drawn.token_ids.index_copy_(0, lacking, token_ids)
        lacking = lacking[_find_lacking(columns, candidates, weight, vocab_size)[:, 0]]


def _invert(probabilities: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Invert the cumulative distribution of (unnormalised) probabilities at each row's uniform number.

    The first entry whose cumulative sum exceeds `uniform * total` has a probability above 0, since `uniform` < 1.
    """
    precise = torch.float32 if probabilities.device.type == "mps" else torch.float64
    cumulative = probabilities.cumsum(-1, dtype=precise)
    found = torch.searchsorted(cumulative, uniform.to(precise) * cumulative[:, -1:], right=True)
    return found[:, 0].clamp(max=probabilities.shape[-1] - 1)


def sample_tokens(
    logits: torch.Tensor,
    sequences: list[Sampled],
    most_likely: Callable[[torch.Tensor], torch.Tensor] = find_most_likely,
    draw_beyond: DrawBeyond = sort_more,
) -> torch.Tensor:
    """The `Sampler` by torch's operators; other executors replace the parts that are slow, or wait for the device."""
    drawn = [index for index, sequence in enumerate(sequences) if sequence.params.temperature > 0]
    if not drawn:
        return most_likely(logits)
    logits = logits.float()
    largest = most_likely(logits)
    token_ids = largest.clone()
    columns = build_columns(sequences, logits.shape[-1])
    truncated = [index for index in drawn if sequences[index].params.top_k or sequences[index].params.top_p < 1]
    from_all = sorted(set(drawn) - set(truncated))
    draw_truncated = partial(_draw_truncated, draw_beyond=draw_beyond)
    for draw, rows in ((draw_truncated, truncated), (_draw_from_all, from_all)):
        if rows:
            at = to_device(np.array(rows), logits.device)
            tokens = draw(logits.index_select(0, at), columns[rows])
            token_ids.index_copy_(0, at, tokens)
    return token_ids.where(largest != NO_TOKEN, NO_TOKEN)
