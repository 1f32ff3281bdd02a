"""A long prompt among decoding streams: when it is sent, and which gaps it causes."""

from __future__ import annotations

import pytest

from app.bench.interference import Settling, find_gaps, longest_gap
from app.bench.report import report
from app.engine.health import Overloaded
from tests.test_bench_session import against, engine, facts_of
from tests.test_bench_statistics import answered, run_of


async def test_a_long_prompt_arrives_among_streams_that_decode() -> None:
    served = engine()
    result = await against(served, "interference", "--concurrency", "2")
    [(_, run)] = result.runs
    assert [len(submission.prompt_token_ids) for submission in served.submissions[-3:]] == [8, 8, 48]
    assert len(run.outcomes) == 2
    assert [outcome.planned.label for outcome in run.beside] == ["long"]
    assert "TTFT of the long prompt, ms" in run.findings
    assert "longest gap, ms" in run.findings or run.notes, "a script may end before the long prompt comes"
    assert facts_of(result)["lengths"] == "8 prompt and 4 output tokens; the long prompt has 48 tokens"


def test_the_long_prompt_is_sent_when_every_stream_is_decoding_or_has_ended() -> None:
    settling = Settling(3, 2)
    for index in (0, 0, 0, 1, 1):
        settling.text(index)
    settling.text(2)
    assert not settling.reached.is_set()
    settling.ended(2)
    assert settling.reached.is_set()


def test_a_gap_counts_if_it_overlaps_the_time_of_the_long_prompt() -> None:
    times = [0.0, 4.0, 5.0, 8.0, 9.0, 14.0]
    assert longest_gap(times, 4.5, 8.5) == 3.0
    assert longest_gap(times, 3.0, 3.5) == 4.0
    assert longest_gap([1.0], 0.0, 9.0) == 0.0


def test_the_gap_before_the_long_prompt_is_distinguished_from_the_one_it_causes() -> None:
    run, arrived = run_of(answered([1.0, 1.5, 4.5, 5.0]), answered([1.0, 1.8, 3.0, 5.0])), answered([4.0], sent_at=2.0)
    find_gaps(run, arrived)
    assert run.findings["longest gap, ms"] == 3000.0
    assert run.findings["longest gap before, ms"] == pytest.approx(800.0)
    assert run.findings["TTFT of the long prompt, ms"] == 2000.0
    assert run.findings["prefill of the long prompt, tokens/s"] == 5.0
    assert run.notes == []


def test_streams_that_ended_too_soon_do_not_count() -> None:
    arrived = answered([4.0], sent_at=2.0)
    some, none = run_of(answered([1.0, 3.0]), answered([1.0, 5.0])), run_of(answered([1.0, 3.0]))
    find_gaps(some, arrived)
    find_gaps(none, arrived)
    assert some.findings["longest gap, ms"] == 4000.0
    assert "1 of 2 streams had ended" in some.notes[0]
    assert "longest gap, ms" not in none.findings


async def test_a_long_prompt_that_fails_gives_no_findings() -> None:
    served = engine()
    served.refusals[4] = Overloaded("the queue is full", 1)
    result = await against(served, "interference", "--concurrency", "2")
    [(_, run)] = result.runs
    assert run.findings == {}
    assert "the long prompt failed: HTTP 429: the queue is full" in report(result)
