"""The benchmark's numbers, on outcomes whose numbers are known."""

from __future__ import annotations

import pytest

from app.bench.caveats import caveats
from app.bench.compare import Measurement, by_load, paired
from app.bench.drive import Run, seconds_of
from app.bench.outcome import BenchError, Outcome
from app.bench.summary import LatencyTargets, Spread, percentile, summarize
from app.bench.workload import PlannedRequest, Stage


def answered(text_times: list[float], *, sent_at: float = 0.0, tokens: int | None = None, prompt: int = 10) -> Outcome:
    """A whole answer whose last event with text is also its end."""
    outcome = Outcome(PlannedRequest("", prompt, tokens or len(text_times)), sent_at=sent_at, text_times=text_times)
    outcome.finished_at, outcome.finish_reason, outcome.done, outcome.status = text_times[-1], "length", True, 200
    outcome.num_prompt_tokens, outcome.counted_tokens = prompt, tokens or len(text_times)
    return outcome


def failed(error: str = "HTTP 500: no", text_times: list[float] | None = None) -> Outcome:
    return Outcome(PlannedRequest("", 10, 4), text_times=text_times or [], error=error)


def run_of(*outcomes: Outcome, seconds: float = 2.0, load: int = 1) -> Run:
    stage = Stage(tuple(outcome.planned for outcome in outcomes), load, load)
    return Run(stage, list(outcomes), seconds)


# Percentiles


def test_percentiles_lie_between_the_two_nearest_values() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    assert [percentile(values, percent) for percent in (0, 50, 90, 100)] == pytest.approx([1.0, 2.5, 3.7, 4.0])


def test_a_single_value_is_every_percentile() -> None:
    spread = Spread.of([0.25], 1000)
    assert spread == Spread(1, 250.0, 250.0, 250.0, 250.0, 250.0)


def test_without_values_there_is_no_spread() -> None:
    assert Spread.of([None, None]) is None


def test_a_spread_sorts_and_leaves_out_what_is_unknown() -> None:
    spread = Spread.of([3.0, None, 1.0, 2.0])
    assert spread is not None
    assert (spread.count, spread.mean, spread.p50, spread.max) == (3, 2.0, 2.0, 3.0)


# One request


def test_latencies_of_one_request() -> None:
    outcome = answered([1.5, 1.6, 1.8, 2.3], sent_at=1.0)
    assert outcome.ttft == 0.5
    assert outcome.gaps == pytest.approx([0.1, 0.2, 0.5])
    assert outcome.e2e == pytest.approx(1.3)
    assert outcome.tpot == pytest.approx(0.8 / 3)


def test_tpot_counts_tokens_where_events_carry_several() -> None:
    assert answered([1.0, 2.0], tokens=5).tpot == pytest.approx(0.25)


def test_an_answer_of_one_token_has_no_tpot_and_no_gap() -> None:
    outcome = answered([1.0])
    assert outcome.tpot is None
    assert outcome.gaps == []


# One run


def test_rates_count_what_succeeded_over_the_whole_time() -> None:
    summary = summarize(run_of(answered([1.0, 2.0]), answered([1.0, 1.5]), failed(), seconds=2.0))
    assert (summary.num_sent, summary.num_ok, summary.num_failed) == (3, 2, 1)
    assert summary.request_throughput == 1.0
    assert summary.output_throughput == 2.0
    assert summary.total_throughput == 12.0


def test_failures_do_not_count_in_latencies() -> None:
    summary = summarize(run_of(answered([1.0, 2.0]), failed(text_times=[9.0, 19.0])))
    assert summary.ttft is not None
    assert summary.itl is not None
    assert (summary.ttft.count, summary.ttft.max) == (1, 1000.0)
    assert (summary.itl.count, summary.itl.max) == (1, 1000.0)


def test_the_time_of_a_run_is_from_the_first_request_sent_to_the_last_end() -> None:
    assert seconds_of([answered([3.0], sent_at=2.0), answered([9.0], sent_at=5.0), failed()]) == 9.0
    assert seconds_of([]) == 0.0


def test_a_run_in_which_all_failed_has_no_latencies_and_no_rates() -> None:
    summary = summarize(run_of(failed(), failed("timeout"), failed(), seconds=0.0), LatencyTargets.parse("ttft:1"))
    assert (summary.ttft, summary.itl, summary.tpot, summary.e2e) == (None, None, None, None)
    assert (summary.request_throughput, summary.goodput) == (0.0, 0.0)
    assert summary.errors == (("HTTP 500: no", 2), ("timeout", 1))


# Goodput


def test_goodput_counts_requests_within_every_limit() -> None:
    quick, late, slow = answered([0.4, 0.41]), answered([0.6, 0.61]), answered([0.4, 0.5])
    summary = summarize(run_of(quick, late, slow, failed(), seconds=2.0), LatencyTargets.parse("ttft:500,itl:50"))
    assert summary.good_share == 0.25
    assert summary.goodput == 0.5


def test_limits_on_the_longest_gap_on_tpot_and_on_e2e_are_kept_or_broken() -> None:
    outcome = answered([0.1, 0.2, 0.5])
    assert LatencyTargets.parse("gap:301,tpot:201,e2e:501").keeps(outcome)
    for broken in ("gap:299", "tpot:199", "e2e:499"):
        assert not LatencyTargets.parse(broken).keeps(outcome)


def test_a_single_token_breaks_no_limit_of_gaps_but_no_text_at_all_is_late() -> None:
    silent = answered([1.0])
    assert LatencyTargets.parse("itl:1,tpot:1").keeps(silent)
    silent.text_times = []
    assert not LatencyTargets.parse("ttft:1000").keeps(silent)


@pytest.mark.parametrize("text", ["", "ttft", "ttft:fast", "speed:5", "ttft:0", "ttft:500;itl:50"])
def test_invalid_limits_are_refused(text: str) -> None:
    with pytest.raises(BenchError, match="--slo"):
        LatencyTargets.parse(text)


# What a reader must know


def test_a_clean_run_needs_no_caveat() -> None:
    run = run_of(answered([1.0, 2.0]))
    assert caveats(run, summarize(run), "single") == []


def test_failures_are_counted_and_named() -> None:
    run = run_of(answered([1.0]), failed(), failed(), failed("timeout"))
    notes = caveats(run, summarize(run), "streams")
    assert notes == ["3 of 4 requests failed; no latency or rate counts them", "2 x HTTP 500: no", "1 x timeout"]


def test_events_with_several_tokens_are_reported() -> None:
    run = run_of(answered([1.0, 2.0], tokens=5))
    assert caveats(run, summarize(run), "single") == [
        "an event carried 2.50 tokens on average: ITL is between events",
    ]


def test_answers_that_ended_early_are_reported() -> None:
    outcome = answered([1.0, 2.0])
    outcome.planned = PlannedRequest("", 10, 4)
    run = run_of(outcome)
    assert caveats(run, summarize(run), "single") == ["1 answers ended with fewer tokens than requested"]


def test_a_server_that_counts_prompts_differently_or_reports_no_usage_is_noted() -> None:
    longer, uncounted = answered([1.0]), answered([1.0])
    longer.num_prompt_tokens, uncounted.num_prompt_tokens, uncounted.counted_tokens = 11, None, None
    run = run_of(longer, uncounted)
    assert caveats(run, summarize(run), "single") == [
        "the server sent no usage: an event counts as one output token",
        "the server counted 11.0 tokens a prompt, intended were 10.0",
    ]


def test_cached_prompts_are_reported_unless_they_are_intended() -> None:
    outcome = answered([1.0])
    outcome.num_cached_tokens = 5
    run = run_of(outcome)
    [note] = caveats(run, summarize(run), "streams")
    assert note == "50% of the prompt tokens came from the server's cache: use another --seed"
    assert caveats(run, summarize(run), "prefix") == []


def test_a_client_that_was_busy_or_late_is_reported() -> None:
    outcome = answered([1.0])
    outcome.lateness = 0.5
    run = Run(Stage((outcome.planned,), None, 1.0), [outcome], seconds=1.0, client_cpu=0.9)
    assert caveats(run, summarize(run), "poisson") == [
        "this client used 90% of a core: it may have been what was measured",
        "1 % of the requests were sent 500 ms or more after their time",
    ]


# Pairs


def measurements(a: list[float], b: list[float]) -> list[Measurement]:
    """One stage in each repetition; the values are seconds for two requests."""
    return [
        Measurement(name, repetition, [run_of(answered([1.0, 2.0]), answered([1.0, 2.0]), seconds=seconds)])
        for repetition, pair in enumerate(zip(a, b, strict=True))
        for name, seconds in zip("AB", pair, strict=True)
    ]


def test_ratios_are_of_pairs_and_their_median_is_reported() -> None:
    pairs = {pair.ratio.name: pair for pair in paired(measurements([1.0, 4.0, 2.0], [2.0, 2.0, 8.0]), None)["1 stream"]}
    throughput = pairs["requests/s"]
    assert throughput.a.values == (2.0, 0.5, 1.0)
    assert throughput.b.values == (1.0, 1.0, 0.25)
    assert throughput.ratio.values == (2.0, 0.5, 4.0)
    assert (throughput.ratio.median, throughput.ratio.low, throughput.ratio.high) == (2.0, 0.5, 4.0)
    assert pairs["TTFT p50, ms"].ratio.values == (1.0, 1.0, 1.0)


def test_incomplete_pairs_are_omitted() -> None:
    lonely = measurements([1.0, 2.0], [1.0, 1.0])[:-1]
    [throughput] = [pair for pair in paired(lonely, None)["1 stream"] if pair.ratio.name == "requests/s"]
    assert throughput.ratio.values == (1.0,)


def test_findings_are_paired_too_and_only_where_both_servers_have_them() -> None:
    both = measurements([1.0], [1.0])
    both[0].runs[0].findings |= {"longest gap, ms": 30.0, "only ours": 1.0}
    both[1].runs[0].findings["longest gap, ms"] = 60.0
    ratios = {pair.ratio.name: pair.ratio.values for pair in paired(both, None)["1 stream"]}
    assert ratios["longest gap, ms"] == (0.5,)
    assert "only ours" not in ratios


def test_repetitions_of_one_server_become_series() -> None:
    series = {one.name: one for one in by_load(measurements([1.0, 4.0], [9.0, 9.0]), "A", None)["1 stream"]}
    assert series["requests/s"].values == (2.0, 0.5)
    assert series["requests/s"].median == 1.25
