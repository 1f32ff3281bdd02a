"""The scripts run from end to end on a tiny model, and print a figure for everything they are about."""

from __future__ import annotations

import pytest

from tests.bench import continuous_batching, interference, speculation

TINY = ["--shape", "tiny", "--rounds", "1", "--threads", "1"]


@pytest.mark.slow
def test_continuous_batching_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    continuous_batching.main([*TINY, "--streams", "3", "--prompt-tokens", "8", "--output-tokens", "8"])
    printed = capsys.readouterr().out
    for expected in (
        "seed:",
        "commit:",
        "host:",
        "output tokens/s",
        "mean TTFT",
        "outside forward",
        "3 at once over one",
    ):
        assert expected in printed


@pytest.mark.slow
def test_interference_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    interference.main([*TINY, "--streams", "2", "--prompt-tokens", "200", "--budgets", "64", "256"])
    printed = capsys.readouterr().out
    for expected in ("seed:", "usual gap", "longest gap as 200 tokens arrive", "64 tokens a step", "256 tokens a step"):
        assert expected in printed


@pytest.mark.slow
def test_speculation_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    speculation.main(["--rounds", "1", "--threads", "1", "--streams", "1", "3", "--output-tokens", "24"])
    printed = capsys.readouterr().out
    for expected in ("seed:", "copying, 1 at once", "copying, 3 at once", "random, 3 at once", "ratio", "guessed"):
        assert expected in printed
