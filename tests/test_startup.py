"""A start of the engine reports its progress, from the first phase to the last."""

from __future__ import annotations

from itertools import pairwise

from app.config import Config
from app.engine.loading import StartUp
from app.engine.startup import start_engine
from app.messages import EngineLoading


def test_a_start_reports_its_progress_and_that_within_the_weights() -> None:
    loadings: list[EngineLoading] = []
    start_engine(Config(model="demo", kv_cache_memory="4MiB", threads=1), loadings.append)
    fractions = [loading.fraction for loading in loadings]
    assert all(earlier <= later for earlier, later in pairwise(fractions))
    assert 0.9 < fractions[-1] < 1
    phases = [loading.phase for loading in loadings]
    assert list(dict.fromkeys(phases)) == [
        "reading the configuration",
        "preparing the kernels",
        "loading the weights",
        "making the cache",
        "packing the weights",
        "warming up",
    ]
    assert phases.count("loading the weights") > 10
    assert loadings[phases.index("making the cache") - 1].fraction > 0.59


def test_a_phase_that_goes_on_is_timed_as_one() -> None:
    start_up = StartUp()
    for fraction in (0.2, 0.3, 0.4):
        start_up.enter(EngineLoading("loading the weights", fraction))
    start_up.enter(EngineLoading("making the cache", 0.6))
    assert list(start_up.seconds) == ["starting the process", "loading the weights"]
    assert start_up.current.fraction == 0.6
