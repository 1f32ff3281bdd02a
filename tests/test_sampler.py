"""Sampling on hand-made logits."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch

from app.messages import SamplingParams
from app.model.sampling.columns import uniforms
from app.model.sampling.draw import NUM_CANDIDATES
from app.model.sampling.logprobs import gather_logprobs
from app.model.sampling.sampler import sample
from app.scheduler.batch import NO_TOKEN, Sampled
from app.scheduler.sequence import Sequence


def sequence(prompt: list[int] | None = None, outputs: tuple[int, ...] = (), **params: Any) -> Sampled:
    made = Sequence(1, prompt or [0], SamplingParams(max_tokens=100, **params), output_token_ids=outputs)
    return Sampled(made, made.num_tokens, ends_unknown=False)


def draw(logits: list[float], num_draws: int = 2000, **params: Any) -> Counter[int]:
    """How often each token is drawn from these logits over many seeds."""
    rows = torch.tensor(logits).repeat(num_draws, 1)
    return Counter(sample(rows, [sequence(seed=seed, **params) for seed in range(num_draws)]).tolist())


def shares(counter: Counter[int]) -> dict[int, float]:
    return {token_id: count / counter.total() for token_id, count in sorted(counter.items())}


def logs(*probabilities: float) -> list[float]:
    return [math.log(probability) for probability in probabilities]


def test_temperature_zero_takes_the_most_likely_token() -> None:
    assert draw([0.0, 3.0, 1.0], temperature=0.0) == {1: 2000}


def test_draws_follow_the_distribution() -> None:
    assert shares(draw(logs(0.5, 0.3, 0.2))) == pytest.approx({0: 0.5, 1: 0.3, 2: 0.2}, abs=0.04)


def test_temperature_flattens_or_sharpens() -> None:
    squared = shares(draw(logs(0.5, 0.3, 0.2), temperature=0.5))
    assert squared == pytest.approx({0: 0.25 / 0.38, 1: 0.09 / 0.38, 2: 0.04 / 0.38}, abs=0.04)


def test_top_k_keeps_the_k_most_likely() -> None:
    assert shares(draw(logs(0.2, 0.5, 0.3), top_k=2)) == pytest.approx({1: 0.625, 2: 0.375}, abs=0.04)


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    assert set(draw(logs(0.5, 0.3, 0.15, 0.05), top_p=0.79)) == {0, 1}
    assert set(draw(logs(0.5, 0.3, 0.15, 0.05), top_p=0.81)) == {0, 1, 2}
    assert set(draw(logs(0.5, 0.3, 0.15, 0.05), top_p=0.01)) == {0}


def test_top_p_is_measured_within_top_k() -> None:
    assert set(draw(logs(0.4, 0.3, 0.2, 0.1), top_k=2, top_p=0.5)) == {0}


def test_min_p_keeps_tokens_relative_to_the_most_likely() -> None:
    assert set(draw(logs(0.5, 0.3, 0.15, 0.05), min_p=0.29)) == {0, 1, 2}
    assert set(draw(logs(0.5, 0.3, 0.15, 0.05), min_p=0.31, top_p=0.99)) == {0, 1}


@pytest.mark.parametrize("times", [4, 20], ids=["more candidates", "all tokens"])
def test_a_flat_distribution_is_drawn_from_beyond_the_first_candidates(times: int) -> None:
    num_kept = round(0.9 * times * NUM_CANDIDATES)
    drawn = draw([0.0] * (times * NUM_CANDIDATES), num_draws=4000, top_p=0.9)
    assert 0.95 * num_kept * (1 - math.exp(-4000 / num_kept)) < len(drawn) <= num_kept + 1


def test_what_a_row_draws_does_not_depend_on_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 1000, generator=generator) * 3
    rows = [
        sequence(seed=1),
        sequence(seed=2, top_k=40),
        sequence(seed=3, top_p=0.95),
        sequence(seed=4, temperature=0.0),
        sequence(seed=5, top_p=0.999, temperature=2.0),
        sequence([1, 2], (3, 3), seed=6, min_p=0.05, frequency_penalty=1.0, repetition_penalty=1.2),
    ]
    alone = [sample(logits[i : i + 1].clone(), [row]).item() for i, row in enumerate(rows)]
    assert sample(logits.clone(), rows).tolist() == alone
    assert sample(logits.flip(0).clone(), rows[::-1]).tolist() == alone[::-1]


def test_uniform_numbers_depend_on_seed_and_position_and_fill_the_unit_interval() -> None:
    numbers = uniforms([sequence([0] * length, seed=seed) for seed in range(100) for length in range(1, 41)])
    assert len(set(numbers.tolist())) > 3990
    assert 0 <= numbers.min() < 0.01
    assert 0.99 < numbers.max() < 1
    assert numbers.mean() == pytest.approx(0.5, abs=0.02)


def test_frequency_and_presence_penalties_count_output_tokens_only() -> None:
    logits = torch.zeros(1, 4)
    sample(logits, [sequence([3, 3], (1, 1, 2), frequency_penalty=0.5, presence_penalty=0.25, temperature=0.0)])
    assert logits.tolist() == [[0.0, -1.25, -0.75, 0.0]]


def test_repetition_penalty_counts_the_prompt_too_and_shrinks_either_sign() -> None:
    logits = torch.tensor([[2.0, -2.0, 2.0, -2.0]])
    sample(logits, [sequence([0], (1, 1), repetition_penalty=2.0, temperature=0.0)])
    assert logits.tolist() == [[1.0, -4.0, 2.0, -2.0]]


def test_logit_bias_forces_and_forbids() -> None:
    assert draw([0.0, 0.0, 0.0], logit_bias=((0, -100.0), (2, 100.0))) == {2: 2000}


def test_stop_tokens_are_forbidden_until_the_minimum_is_reached() -> None:
    params = {"temperature": 0.0, "stop_token_ids": frozenset({2}), "min_tokens": 2}
    logits = torch.tensor([[0.0, 1.0, 5.0]]).repeat(2, 1)
    assert sample(logits, [sequence([0], (0,), **params), sequence([0], (0, 0), **params)]).tolist() == [1, 2]


def test_without_rows_no_token_is_sampled() -> None:
    given = sample(torch.empty(0, 10), [], None, lambda *_: pytest.fail("there are no rows to sample"))
    assert given.tolist() == []


def test_rows_without_finite_numbers_give_no_token_and_leave_the_others_alone() -> None:
    logits = torch.tensor([[0.0, math.nan], [0.0, 1.0], [-math.inf, -math.inf], [0.0, math.inf]])
    rows = [sequence(), sequence(temperature=0.0), sequence(temperature=0.0), sequence(top_k=1)]
    assert sample(logits, rows).tolist() == [NO_TOKEN, 1, NO_TOKEN, NO_TOKEN]


def test_logprobs_are_the_models_own_with_alternatives_best_first() -> None:
    logits = torch.tensor([logs(0.1, 0.6, 0.3), logs(0.2, 0.3, 0.5)])
    logprobs = gather_logprobs(logits, torch.tensor([0, 2]), [2, 0])
    first, second = logprobs.read(logprobs.rows)
    assert (first.token_id, second.token_id) == (0, 2)
    assert first.logprob == pytest.approx(math.log(0.1))
    assert [token_id for token_id, _ in first.top] == [1, 2]
    assert [value for _, value in first.top] == pytest.approx(logs(0.6, 0.3))
    assert second.top == ()
