"""What a step costs beside its tokens is measured when the engine starts, and leaves no trace."""

from __future__ import annotations

import pytest

from app.config import Config
from app.engine.startup import start_engine
from app.engine.step_cost import LEAST, MOST, measure_step_cost, step_cost_of
from tests.builders import check_blocks


@pytest.mark.parametrize(
    ("one", "several", "cost"),
    [
        (12.0, 26.0, 5.0),
        (10.0, 17.0, 9.0),
        (10.0, 10.0, MOST),
        (10.0, 9.0, MOST),
        (10.0, 10.1, MOST),
        (1.0, 80.0, LEAST),
    ],
)
def test_it_is_what_a_step_of_one_token_takes_over_what_a_token_more_does(
    one: float, several: float, cost: float
) -> None:
    assert step_cost_of(one, several, 8) == pytest.approx(cost)


def test_where_a_step_has_one_token_alone_no_guess_is_dear() -> None:
    assert step_cost_of(1.0, 1.0, 1) == MOST


@pytest.mark.parametrize("max_num_tokens", [1, 3, 4096])
def test_an_engine_that_guesses_has_measured_it(max_num_tokens: int) -> None:
    config = Config(model="demo", kv_cache_memory="4MiB", threads=1, speculative="ngram")
    core, _ = start_engine(config, lambda _: None)
    assert LEAST <= core.scheduler.speculation.step_cost <= MOST
    num_free = core.scheduler.pool.num_free
    assert LEAST <= measure_step_cost(core, max_num_tokens) <= MOST
    assert core.scheduler.pool.num_free == num_free == core.scheduler.pool.num_blocks
    check_blocks(core.scheduler)
    assert not core.has_work


def test_an_engine_that_does_not_guess_has_not() -> None:
    core, _ = start_engine(Config(model="demo", kv_cache_memory="4MiB", threads=1), lambda _: None)
    assert not core.scheduler.speculates
