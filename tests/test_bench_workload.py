"""What a benchmark sends and when: seeded, at the stated rate, with the stated lengths."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev

import pytest

from app.bench.experiment import plan
from app.bench.outcome import BenchError
from app.bench.prompts import TextPrompts, TokenIdPrompts
from app.bench.settings import Settings
from app.bench.trace import parse_timestamp, read_trace
from app.bench.workload import Lengths, PlannedRequest, closed_loop, fit, poisson, shared_prefixes

LENGTHS = Lengths(prompt=7, output=5)
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
AZURE = HEADER + (
    "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n2023-11-16 18:17:05.9799600,110,27\n"
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(AZURE)
    return path


# Arrivals


def test_the_same_seed_gives_the_same_arrivals_and_another_seed_others() -> None:
    assert poisson(4.0, 20, LENGTHS, "1") == poisson(4.0, 20, LENGTHS, "1")
    times = [[planned.at for planned in poisson(4.0, 20, LENGTHS, seed).requests] for seed in ("1", "2")]
    assert times[0] != times[1]


def test_arrivals_have_the_stated_rate_and_come_in_order() -> None:
    stage = poisson(50.0, 2000, LENGTHS, "1")
    times = [planned.at for planned in stage.requests]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= 2000 / 50
    assert 2000 / times[-1] == pytest.approx(50, rel=0.01)
    assert stage.concurrency is None


def test_the_gaps_of_arrivals_spread_as_those_of_a_poisson_process() -> None:
    times = [planned.at for planned in poisson(50.0, 2000, LENGTHS, "1").requests]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert stdev(gaps) == pytest.approx(fmean(gaps), rel=0.1)
    assert sum(gap > fmean(gaps) for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.05)


def test_a_closed_loop_holds_its_number_of_streams() -> None:
    stage = closed_loop(4, 10, LENGTHS, "1")
    assert (stage.concurrency, len(stage.requests), stage.load_text) == (4, 10, "4 streams")
    assert {(planned.num_prompt_tokens, planned.num_output_tokens) for planned in stage.requests} == {(7, 5)}


def test_no_two_requests_of_a_stage_have_the_same_prompt_nor_do_two_repetitions() -> None:
    prompts = TokenIdPrompts(100, 30_000)
    settings = Settings(workload="streams", seed=3, concurrency=(2, 4))
    made = [
        tuple(prompts.make(planned))
        for repetition in range(2)
        for stage, _ in plan(settings, None, f"{settings.seed}/{repetition}")
        for planned in stage.requests
    ]
    assert len(set(made)) == len(made) == 16


# Prompts


def test_prompts_have_exactly_the_requested_tokens_from_the_range_and_the_seed() -> None:
    prompts = TokenIdPrompts(100, 110)
    planned = PlannedRequest("a", 500, 1)
    assert len(prompts.make(planned)) == 500
    assert set(prompts.make(planned)) == set(range(100, 110))
    assert prompts.make(planned) == prompts.make(planned) != prompts.make(PlannedRequest("b", 500, 1))


def test_prompts_share_their_prefix_and_nothing_else() -> None:
    stage = shared_prefixes(2, 3, 20, Lengths(5, 1), "1")
    assert [planned.label for planned in stage.requests] == ["first", "again", "again", "again"] * 2
    made = [TokenIdPrompts(100, 30_000).make(planned) for planned in stage.requests]
    assert {len(prompt) for prompt in made} == {25}
    assert len({tuple(prompt[:20]) for prompt in made[:4]}) == 1
    assert len({tuple(prompt[20:]) for prompt in made}) == 8
    assert made[0][:20] != made[4][:20]


def test_text_prompts_allow_for_the_tokens_of_a_word_and_a_template() -> None:
    prompts = TextPrompts(tokens_per_word=2.0, fixed_tokens=10.0)
    assert len(prompts.make(PlannedRequest("a", 50, 1)).split()) == 20
    shared = PlannedRequest("a", 50, 1, prefix_seed="p", num_prefix_tokens=20)
    assert len(prompts.make(shared).split()) == 20
    assert prompts.make(shared).split()[:10] == prompts.make(PlannedRequest("p", 30, 1)).split()


# Lengths


def test_what_is_too_long_is_cut_to_fit_and_counted() -> None:
    planned = [PlannedRequest("", 50, 10), PlannedRequest("", 100, 10), PlannedRequest("", 5, 90)]
    fitted, num_cut = fit(planned, 64)
    assert [(one.num_prompt_tokens, one.num_output_tokens) for one in fitted] == [(50, 10), (54, 10), (1, 63)]
    assert num_cut == 2
    assert fit(planned, None) == (tuple(planned), 0)


def test_lengths_that_cannot_fit_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(BenchError, match="136 tokens; the server takes 64"):
        Settings(workload="streams", seed=0, prompt_tokens=8).check_lengths(64)
    Settings(workload="trace", seed=0, prompt_tokens=8).check_lengths(64)


@pytest.mark.parametrize("workload", ["interference", "prefix"])
def test_long_prompts_and_prefixes_are_as_long_as_fits_unless_they_are_given(workload: str) -> None:
    settings = Settings(workload=workload, seed=0, prompt_tokens=8, output_tokens=8)
    settings.check_lengths(64)
    assert (settings.long_prompt(64), settings.prefix(64)) == (48, 48)
    assert (settings.long_prompt(None), settings.prefix(None)) == (1024, 1000)
    given = Settings(workload=workload, seed=0, long_prompt_tokens=90, prefix_tokens=90)
    with pytest.raises(BenchError, match="the server takes 64"):
        given.check_lengths(64)


def test_an_open_loop_has_enough_requests_for_its_duration() -> None:
    settings = Settings(workload="poisson", seed=0, rate=(2.0, 5.0), duration=10.0)
    assert [len(stage.requests) for stage, _ in plan(settings, None, "0")] == [20, 50]


# Traces


def test_a_trace_gives_arrivals_and_lengths(trace: Path) -> None:
    stage = read_trace(trace, "1")
    assert [planned.at for planned in stage.requests] == pytest.approx([0.0, 0.052, 2.0], abs=1e-6)
    assert [planned.num_prompt_tokens for planned in stage.requests] == [4808, 3180, 110]
    assert [planned.num_output_tokens for planned in stage.requests] == [10, 8, 27]
    assert stage.load == pytest.approx(1.5)


def test_a_trace_can_be_sped_up_and_limited(trace: Path) -> None:
    stage = read_trace(trace, "1", speedup=4.0, limit=2)
    assert [planned.at for planned in stage.requests] == pytest.approx([0.0, 0.013], abs=1e-6)


def test_a_trace_is_cut_to_the_server_and_says_so(trace: Path) -> None:
    [(stage, notes)] = plan(Settings(workload="trace", seed=0, trace=trace), 1024, "0")
    assert [planned.num_tokens for planned in stage.requests] == [1024, 1024, 137]
    assert notes == ["2 of 3 prompts were cut to the server's 1024 tokens"]


def test_timestamps_are_dates_or_seconds() -> None:
    assert parse_timestamp("12.5") == 12.5
    assert parse_timestamp("2023-11-16 18:17:03.9799600") == pytest.approx(1700158623.97996)
    assert parse_timestamp("2023-11-16T18:17:03Z") == parse_timestamp("2023-11-16 19:17:03+01:00") == 1700158623


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TIMESTAMP,tokens\n1,2\n", "no column ContextTokens, GeneratedTokens"),
        (HEADER, "no lines"),
        (HEADER + "1,2,3\nsoon,2,3\n", "line 3: "),
        (HEADER + "1,2\n", "line 2: "),
    ],
)
def test_an_invalid_trace_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(BenchError, match=message):
        read_trace(path, "1")


def test_a_trace_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cannot be read"):
        read_trace(tmp_path / "none.csv", "1")
