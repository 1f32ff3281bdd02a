"""Draws of large nuclei by Triton's kernel, against their definition; on the CPU it runs under Triton's interpreter."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are declared
pytest.importorskip("triton", reason="Triton is not installed: pip install millrace[triton]")

from app.model.choosing import Drawn, Truncated  # noqa: E402
from app.model.sampler import sample  # noqa: E402
from app.model.triton import nucleus  # noqa: E402
from tests.test_sampler import sequence  # noqa: E402

NUM_DRAWS = 10
UNTOUCHED = -7


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nucleus, "TILE", 128)


@dataclass(frozen=True)
class Limits:
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


def by_definition(scores: torch.Tensor, limits: Limits, draws: list[float]) -> list[int]:
    """Of one row, in float64: sorted, cut off, and gone through in the vocabulary's order."""
    largest, order = scores.double().softmax(0).sort(descending=True, stable=True)
    first = largest[: limits.top_k or len(largest)]
    is_in = (first.cumsum(0) - first < limits.top_p * first.sum()) & (first >= limits.min_p * first[0])
    kept = order[: len(first)][is_in].sort().values
    cumulative = scores.double().softmax(0)[kept].cumsum(0)
    found = torch.searchsorted(cumulative, torch.tensor(draws, dtype=torch.float64) * cumulative[-1], right=True)
    return kept[found].tolist()


def by_kernel(scores: torch.Tensor, limits: Limits, draws: list[float], lacking: bool = True) -> list[int]:
    """The same row for each draw."""
    probabilities = scores.float().softmax(-1).repeat(len(draws), 1).to(DEVICE)

    def column(*values: float) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=DEVICE)[:, None].expand(len(draws), 1).contiguous()

    rows = Truncated(
        probabilities=probabilities,
        top_k=column(limits.top_k or len(scores)),
        top_p=column(limits.top_p),
        min_p=column(limits.min_p),
        draws=column(*draws),
    )
    drawn = Drawn(
        token_ids=torch.full((len(draws),), UNTOUCHED, device=DEVICE),
        candidates=probabilities.topk(4).values,
        lacking=column(lacking).bool(),
    )
    nucleus.draw_beyond(rows, drawn)
    return drawn.token_ids.tolist()


def spread(generator: torch.Generator) -> list[float]:
    return [0.0, 1 - 2.0**-24, *torch.rand(NUM_DRAWS - 2, generator=generator).tolist()]


@pytest.mark.parametrize("vocab_size", [128, 300])
@pytest.mark.parametrize(
    ("limits", "sharpness"),
    [
        (Limits(top_p=0.9), 1.0),
        (Limits(top_p=0.999), 2.0),
        (Limits(top_p=0.95, min_p=0.2), 0.5),
        (Limits(top_k=50), 1.0),
        (Limits(top_k=100, top_p=0.7), 1.0),
        (Limits(top_k=120, top_p=0.99, min_p=0.05), 2.0),
    ],
    ids=repr,
)
def test_a_token_is_that_of_the_sorted_ones(vocab_size: int, limits: Limits, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(vocab_size, generator=generator) * sharpness
    draws = spread(generator)
    assert by_kernel(scores, limits, draws) == by_definition(scores, limits, draws)


@pytest.mark.parametrize(
    "limits",
    [Limits(top_p=0.3), Limits(40), Limits(top_p=0.7), Limits(120), Limits(120, top_p=0.8)],
    ids=repr,
)
def test_of_equal_tokens_at_the_edge_the_first_are_in_it(limits: Limits) -> None:
    """A third of them are likelier than the others; limits end within either."""
    scores = torch.zeros(200)
    scores[::3] = 1.0
    draws = [number / 24 for number in range(24)]
    assert by_kernel(scores, limits, draws) == by_definition(scores, limits, draws)


def test_nearly_everything_leaves_out_what_has_no_probability() -> None:
    scores = torch.full((150,), -torch.inf)
    scores[20:90] = torch.randn(70, generator=torch.Generator().manual_seed(2))
    draws = [0.0, 0.5, 1 - 2.0**-24]
    for limits in (Limits(top_p=1 - 2.0**-16), Limits(top_p=1 - 2.0**-24), Limits(top_p=1 - 2.0**-30), Limits(149)):
        given = by_kernel(scores, limits, draws)
        assert given == by_definition(scores, limits, draws)
        assert given[0] == 20
        assert given[-1] == 89


def test_a_row_whose_candidates_suffice_is_left_alone() -> None:
    assert by_kernel(torch.zeros(100), Limits(top_p=0.9), [0.1, 0.9], lacking=False) == [UNTOUCHED, UNTOUCHED]


def test_a_row_that_is_not_a_number_ends_and_leaves_the_others_alone() -> None:
    logits = torch.randn(3, 150, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    logits[1, 5] = torch.nan
    rows = [sequence(seed=seed, top_p=0.9) for seed in range(3)]
    alone = [sample(logits[i : i + 1].clone(), rows[i : i + 1], None, nucleus.draw_beyond).item() for i in (0, 2)]
    assert sample(logits, rows, None, nucleus.draw_beyond).tolist() == [alone[0], -1, alone[1]]


def test_what_a_row_draws_does_not_depend_on_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large nuclei beside small ones, and beside what is drawn in other ways."""
    monkeypatch.setattr("app.model.choosing.NUM_CANDIDATES", 16)
    logits = (torch.randn(7, 300, generator=torch.Generator().manual_seed(0)) * 3).to(DEVICE)
    rows = [
        sequence(seed=1),
        sequence(seed=2, top_k=40),
        sequence(seed=3, top_p=0.3),
        sequence(seed=4, top_p=0.99, temperature=2.0),
        sequence(seed=5, top_p=0.999, temperature=3.0, min_p=0.01),
        sequence(seed=6, temperature=0.0),
        sequence(seed=7, top_k=10, temperature=2.0),
    ]

    def drawn(order: list[int]) -> list[int]:
        return sample(logits[order].clone(), [rows[index] for index in order], None, nucleus.draw_beyond).tolist()

    alone = [drawn([index])[0] for index in range(7)]
    assert drawn([0, 1, 2, 3, 4, 5, 6]) == alone
    assert drawn([6, 5, 4, 3, 2, 1, 0]) == alone[::-1]
