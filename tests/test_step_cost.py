"""The step cost is measured when the engine starts, without leaving a trace."""

from __future__ import annotations

import pytest

from app.config import Config
from app.engine.startup import start_engine
from app.engine.step_cost import MAX_COST, MIN_COST, measure_step_cost, step_cost_of
from tests.builders import check_blocks


@pytest.mark.parametrize(
    ("one", "several", "cost"),
    [
        (12.0, 26.0, 5.0),
        (10.0, 17.0, 9.0),
        (10.0, 10.0, MAX_COST),
        (10.0, 9.0, MAX_COST),
        (10.0, 10.1, MAX_COST),
        (1.0, 80.0, MIN_COST),
    ],
)
def test_it_is_the_time_of_a_step_of_one_token_over_that_of_a_further_token(
    one: float, several: float, cost: float
) -> None:
    assert step_cost_of(one, several, 8) == pytest.approx(cost)


def test_if_more_tokens_cost_nothing_the_step_cost_has_an_upper_bound() -> None:
    assert step_cost_of(1.0, 1.0, 1) == MAX_COST


@pytest.mark.parametrize("max_num_tokens", [1, 3, 4096])
def test_an_engine_with_speculation_has_measured_it(max_num_tokens: int) -> None:
    config = Config(model="demo", kv_cache_memory="4MiB", threads=1, speculative="ngram")
    core, _ = start_engine(config, lambda _: None)
    assert MIN_COST <= core.scheduler.speculation.step_cost <= MAX_COST
    num_free = core.scheduler.pool.num_free
    assert MIN_COST <= measure_step_cost(core, max_num_tokens) <= MAX_COST
    assert core.scheduler.pool.num_free == num_free == core.scheduler.pool.num_blocks
    check_blocks(core.scheduler)
    assert not core.has_work


def test_an_engine_without_speculation_has_not() -> None:
    core, _ = start_engine(Config(model="demo", kv_cache_memory="4MiB", threads=1), lambda _: None)
    assert not core.scheduler.speculates
