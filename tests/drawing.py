"""What is drawn from a row of scores, by definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Limits:
    """`top_k` 0 is all."""

    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


ALL_KINDS = [
    (Limits(top_p=0.9), 1.0),
    (Limits(top_p=0.999), 2.0),
    (Limits(top_p=0.95, min_p=0.2), 0.5),
    (Limits(top_k=50), 1.0),
    (Limits(top_k=100, top_p=0.7), 1.0),
    (Limits(top_k=120, top_p=0.99, min_p=0.05), 2.0),
]
"""And how far apart the scores of normal numbers are."""

AT_AN_EDGE_OF_EQUALS = [
    *(Limits(top_p=0.3), Limits(top_p=0.7)),
    *(Limits(top_k=40), Limits(top_k=120), Limits(top_k=120, top_p=0.8)),
]
"""Of `equals`, within its likelier third or within the others."""

NEARLY_EVERYTHING = [Limits(top_p=1 - 2.0**-16), Limits(top_p=1 - 2.0**-24), Limits(top_p=1 - 2.0**-30), Limits(149)]
"""Of `some_impossible`."""


def equals() -> torch.Tensor:
    scores = torch.zeros(200)
    scores[::3] = 1.0
    return scores


def some_impossible() -> torch.Tensor:
    scores = torch.full((150,), -torch.inf)
    scores[20:90] = torch.randn(70, generator=torch.Generator().manual_seed(2))
    return scores


def distribution(scores: torch.Tensor, limits: Limits) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens that may be drawn, in the vocabulary's order, and their cumulative distribution, in float64."""
    probabilities = scores.double().softmax(0)
    largest, order = probabilities.sort(descending=True, stable=True)
    first = largest[: limits.top_k or len(largest)]
    is_in = (first.cumsum(0) - first < limits.top_p * first.sum()) & (first >= limits.min_p * first[0])
    token_ids = order[: len(first)][is_in].sort().values
    cumulative = probabilities[token_ids].cumsum(0)
    return token_ids, cumulative / cumulative[-1]


def by_definition(scores: torch.Tensor, limits: Limits, numbers: Sequence[float]) -> list[int]:
    """A token of one row for each uniform number."""
    token_ids, cumulative = distribution(scores, limits)
    return token_ids[torch.searchsorted(cumulative, torch.tensor(numbers, dtype=torch.float64), right=True)].tolist()
