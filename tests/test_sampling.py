"""Tokens chosen by torch's operators and by the compiled kernels, against their definition."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

import pytest
import torch

from app.model.sampling.columns import uniforms
from app.model.sampling.draw import Sampler, sample_tokens
from app.scheduler.batch import NO_TOKEN, Sampled
from tests.drawing import (
    ALL_KINDS,
    AT_AN_EDGE_OF_EQUALS,
    NEARLY_EVERYTHING,
    Limits,
    by_definition,
    distribution,
    equals,
    some_impossible,
)
from tests.models import make_runner
from tests.test_sampler import sequence

NUM_DRAWS = 200


@cache
def native() -> Sampler:
    return make_runner("Llama", num_blocks=1, block_size=16, native=True).decoder.sample


@pytest.fixture(params=["torch", "native"])
def sampler(request: pytest.FixtureRequest) -> Sampler:
    return sample_tokens if request.param == "torch" else native()


def drawing(limits: Limits) -> list[Sampled]:
    return [sequence(seed=seed, **asdict(limits)) for seed in range(NUM_DRAWS)]


def drawn(sampler: Sampler, scores: torch.Tensor, limits: Limits) -> list[int]:
    return sampler(scores.float().repeat(NUM_DRAWS, 1), drawing(limits)).tolist()


def expected(scores: torch.Tensor, limits: Limits) -> list[int]:
    return by_definition(scores, limits, uniforms(drawing(limits)).tolist())


@pytest.mark.parametrize("vocab_size", [128, 300, 2000])
@pytest.mark.parametrize(("limits", "sharpness"), [(Limits(), 1.0), (Limits(min_p=0.1), 1.0), *ALL_KINDS], ids=repr)
def test_a_token_is_that_of_the_sorted_ones(
    sampler: Sampler, vocab_size: int, limits: Limits, sharpness: float
) -> None:
    scores = torch.randn(vocab_size, generator=torch.Generator().manual_seed(0)) * sharpness
    assert drawn(sampler, scores, limits) == expected(scores, limits)


@pytest.mark.parametrize("limits", AT_AN_EDGE_OF_EQUALS, ids=repr)
def test_of_equal_tokens_at_the_edge_the_first_may_be_drawn(limits: Limits) -> None:
    """By the kernels; torch takes any."""
    assert drawn(native(), equals(), limits) == expected(equals(), limits)


@pytest.mark.parametrize("limits", NEARLY_EVERYTHING, ids=repr)
def test_what_has_no_probability_is_never_drawn(sampler: Sampler, limits: Limits) -> None:
    assert drawn(sampler, some_impossible(), limits) == expected(some_impossible(), limits)


@pytest.mark.parametrize("vocab_size", [1, 15, 16, 17, 511, 513])
def test_a_vocabulary_may_have_any_size_and_what_lies_behind_it_is_not_read(sampler: Sampler, vocab_size: int) -> None:
    wide = torch.full((NUM_DRAWS, 1024), torch.nan)
    scores = torch.randn(vocab_size, generator=torch.Generator().manual_seed(0))
    wide[:, :vocab_size] = scores
    for limits in (Limits(), Limits(top_k=3), Limits(top_p=0.8)):
        assert sampler(wide[:, :vocab_size], drawing(limits)).tolist() == expected(scores, limits)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.nan])
def test_rows_without_finite_numbers_give_no_token_and_leave_the_others_alone(sampler: Sampler, broken: float) -> None:
    logits = torch.zeros(4, 100)
    logits[0, 57] = logits[2, 3] = broken
    logits[1, [40, 70]] = 1.0
    logits[3] = -torch.inf
    rows = [sequence(temperature=0.0), sequence(temperature=0.0), sequence(top_p=0.5), sequence()]
    assert sampler(logits, rows).tolist() == [NO_TOKEN, 40, NO_TOKEN, NO_TOKEN]
    assert sampler(logits[:3], rows[:1] * 3).tolist() == [NO_TOKEN, 40, NO_TOKEN], "nothing is drawn"


def test_of_a_large_vocabulary_tokens_are_where_the_numbers_fall_to_a_millionth(sampler: Sampler) -> None:
    """In any mix, and where threads take rows as they come."""
    logits = torch.randn(24, 50_257, generator=torch.Generator().manual_seed(0)) * 3
    kinds = [Limits(), Limits(top_p=0.99), Limits(top_k=3000, top_p=0.9)]
    rows = [sequence(seed=seed, **asdict(kinds[seed % 3])) for seed in range(24)]
    for index, (token_id, number) in enumerate(zip(sampler(logits, rows).tolist(), uniforms(rows), strict=True)):
        token_ids, cumulative = distribution(logits[index], kinds[index % 3])
        place = token_ids.tolist().index(token_id)
        before = cumulative[place - 1] if place else 0
        assert before - 1e-6 < number < cumulative[place] + 1e-6


def test_which_rows_are_beside_a_row_does_not_matter(sampler: Sampler) -> None:
    logits = torch.randn(len(ALL_KINDS) + 3, 3000, generator=torch.Generator().manual_seed(0)) * 3
    rows = [sequence(seed=seed, **asdict(limits)) for seed, (limits, _) in enumerate(ALL_KINDS)]
    rows += [sequence(seed=6), sequence(seed=7, temperature=0.0), sequence(seed=8, temperature=2.0, min_p=0.01)]
    alone = [sampler(logits[index : index + 1], [row]).item() for index, row in enumerate(rows)]
    assert sampler(logits, rows).tolist() == alone
    assert sampler(logits.flip(0), rows[::-1]).tolist() == alone[::-1]
