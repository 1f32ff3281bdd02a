"""Draws of large nuclei by Triton's kernel, against their definition; on the CPU it runs under Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are declared
pytest.importorskip("triton", reason="Triton is not installed: pip install triton")

from app.model.sampling.columns import SamplingColumns  # noqa: E402
from app.model.sampling.draw import Drawn, Truncated, find_most_likely  # noqa: E402
from app.model.triton import sampling  # noqa: E402
from tests.drawing import (  # noqa: E402
    ALL_KINDS,
    AT_AN_EDGE_OF_EQUALS,
    NEARLY_EVERYTHING,
    Limits,
    by_definition,
    equals,
    some_impossible,
)
from tests.test_sampler import sequence  # noqa: E402

NUM_DRAWS = 10
UNTOUCHED = -7


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "TILE", 128)


def by_kernel(scores: torch.Tensor, limits: Limits, draws: list[float], lacking: bool = True) -> list[int]:
    """The same row for each draw."""
    probabilities = scores.float().softmax(-1).repeat(len(draws), 1).to(DEVICE)

    def column(*values: float) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=DEVICE)[:, None].expand(len(draws), 1).contiguous()

    columns = SamplingColumns(
        temperature=column(1.0),
        top_k=column(limits.top_k or len(scores)),
        top_p=column(limits.top_p),
        min_p=column(limits.min_p),
        uniform=column(*draws),
    )
    rows = Truncated(probabilities, torch.cat(columns, dim=1))
    drawn = Drawn(
        token_ids=torch.full((len(draws),), UNTOUCHED, device=DEVICE),
        candidates=probabilities.topk(4).values,
        lacking=column(lacking).bool(),
    )
    sampling.draw_beyond(rows, drawn)
    return drawn.token_ids.tolist()


def spread(generator: torch.Generator) -> list[float]:
    return [0.0, 1 - 2.0**-24, *torch.rand(NUM_DRAWS - 2, generator=generator).tolist()]


@pytest.mark.parametrize("vocab_size", [128, 300])
@pytest.mark.parametrize(("limits", "sharpness"), ALL_KINDS, ids=repr)
def test_a_token_is_that_of_the_sorted_ones(vocab_size: int, limits: Limits, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(vocab_size, generator=generator) * sharpness
    draws = spread(generator)
    assert by_kernel(scores, limits, draws) == by_definition(scores, limits, draws)


@pytest.mark.parametrize("limits", AT_AN_EDGE_OF_EQUALS, ids=repr)
def test_of_equal_tokens_at_the_edge_the_first_may_be_drawn(limits: Limits) -> None:
    numbers = [number / 24 for number in range(24)]
    assert by_kernel(equals(), limits, numbers) == by_definition(equals(), limits, numbers)


@pytest.mark.parametrize("limits", NEARLY_EVERYTHING, ids=repr)
def test_what_has_no_probability_is_never_drawn(limits: Limits) -> None:
    numbers = [0.0, 0.5, 1 - 2.0**-24]
    given = by_kernel(some_impossible(), limits, numbers)
    assert given == by_definition(some_impossible(), limits, numbers)
    assert given[0] == 20
    assert given[-1] == 89


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_rows", [1, 3, 40])
@pytest.mark.parametrize("vocab_size", [1, 127, 128, 700])
def test_the_most_likely_token_is_the_first_of_the_largest_however_the_chip_is_filled(
    vocab_size: int, num_rows: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.randint(-40, 40, (num_rows, vocab_size), generator=torch.Generator().manual_seed(0)).to(dtype)
    given = []
    for num_parts in (1, 4, 64):
        monkeypatch.setattr(sampling, "decode_splits", lambda *_, num_parts=num_parts: num_parts)
        given.append(sampling.most_likely(logits.to(DEVICE)).tolist())
    assert given == [find_most_likely(logits).tolist()] * 3


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.nan])
def test_a_row_whose_largest_logit_is_not_finite_has_no_most_likely_token(broken: float) -> None:
    logits = torch.zeros(4, 300)
    logits[0, 257] = logits[2, 3] = broken
    logits[1, 41:] = 1.0
    logits[3] = -torch.inf
    assert sampling.most_likely(logits.to(DEVICE)).tolist() == [-1, 41, -1, -1]


def test_a_row_whose_candidates_suffice_is_left_alone() -> None:
    assert by_kernel(torch.zeros(100), Limits(top_p=0.9), [0.1, 0.9], lacking=False) == [UNTOUCHED, UNTOUCHED]


def test_a_row_that_is_not_a_number_ends_and_leaves_the_others_alone() -> None:
    logits = torch.randn(3, 150, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    logits[1, 5] = torch.nan
    rows = [sequence(seed=seed, top_p=0.9) for seed in range(3)]
    alone = [sampling.sample_tokens(logits[i : i + 1], rows[i : i + 1]).item() for i in (0, 2)]
    assert sampling.sample_tokens(logits, rows).tolist() == [alone[0], -1, alone[1]]


def test_what_a_row_draws_does_not_depend_on_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large nuclei beside small ones, and beside what is drawn in other ways."""
    monkeypatch.setattr("app.model.sampling.draw.NUM_CANDIDATES", 16)
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
        return sampling.sample_tokens(logits[order], [rows[index] for index in order]).tolist()

    alone = [drawn([index])[0] for index in range(7)]
    assert drawn([0, 1, 2, 3, 4, 5, 6]) == alone
    assert drawn([6, 5, 4, 3, 2, 1, 0]) == alone[::-1]
