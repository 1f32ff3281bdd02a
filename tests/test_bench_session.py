"""Whole benchmarks over HTTP against a scripted server, and their reports."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from app.bench.document import document
from app.bench.drive import drive
from app.bench.events import StreamReply
from app.bench.outcome import BenchError
from app.bench.progress import Progress
from app.bench.report import report
from app.bench.result import Result
from app.bench.session import measure, settings_of
from app.bench.target import Target
from app.bench.workload import Lengths, PlannedRequest, closed_loop
from app.cli import build_parser
from app.engine.health import Overloaded
from tests.scripted_engine import MODEL, ScriptedEngine, listening, make_app

SHORT = ["--prompt-tokens", "8", "--output-tokens", "4", "--seed", "7", "--quiet"]


def options_of(*arguments: str) -> dict[str, Any]:
    options = vars(build_parser().parse_args(["bench", *arguments]))
    del options["command"]
    return options


async def measured(*arguments: str) -> Result:
    options = options_of(*arguments, *SHORT)
    return await measure(settings_of(options), options)


def engine() -> ScriptedEngine:
    return ScriptedEngine(script=list(b"abcdefgh" * 8))


async def against(served: ScriptedEngine, *arguments: str) -> Result:
    async with listening(make_app(served)) as (url, _):
        return await measured(*arguments, "--url", url)


def facts_of(result: Result) -> dict[str, str]:
    return dict(result.facts())


# Workloads


async def test_streams_run_at_once_and_all_are_reported() -> None:
    served = engine()
    result = await against(served, "streams", "--concurrency", "1,3", "--requests", "6")
    assert [run.stage.load_text for _, run in result.runs] == ["1 stream", "3 streams"]
    assert all(outcome.ok for _, run in result.runs for outcome in run.outcomes)
    measured = [submission for submission in served.submissions if len(submission.prompt_token_ids) == 8]
    assert len(measured) == 1 + 1 + 2 * 6, "the probe, the warm-up and two stages"
    assert [outcome.num_output_tokens for outcome in result.runs[1][1].outcomes] == [4] * 6


class Counting:
    """Stands for a server: takes a few turns of the loop for each request, and counts how many it has at once."""

    name = "A"

    def __init__(self) -> None:
        self.live = self.most = self.num_sent = 0

    def message(self, planned: PlannedRequest) -> bytes:
        return planned.seed.encode()

    async def send(self, message: bytes, reply: StreamReply) -> None:
        self.num_sent += 1
        self.live += 1
        self.most = max(self.most, self.live)
        for _ in range(self.num_sent % 4):
            await asyncio.sleep(0)
        self.live -= 1


async def test_exactly_as_many_streams_run_as_requested() -> None:
    server, stage = Counting(), closed_loop(3, 10, Lengths(1, 1), "0")
    run = await drive(stage, cast(Target, server), Progress(False))
    assert (server.most, server.num_sent) == (3, 10)
    assert {outcome.planned for outcome in run.outcomes} == set(stage.requests)


async def test_arrivals_are_sent_even_if_nothing_has_been_answered() -> None:
    result = await against(engine(), "poisson", "--rate", "1000", "--requests", "5")
    [(_, run)] = result.runs
    assert [outcome.ok for outcome in run.outcomes] == [True] * 5
    assert [outcome.planned.at for outcome in run.outcomes] == sorted(one.at for one in run.stage.requests)
    assert all(outcome.lateness >= 0 for outcome in run.outcomes)


async def test_a_single_stream_reports_its_decode_and_prefill_rates() -> None:
    result = await against(engine(), "single", "--requests", "2")
    [(_, run)] = result.runs
    assert set(run.findings) == {"decode, tokens/s", "prefill, tokens/s"}
    assert "prefill, tokens/s: " in report(result)


async def test_shared_prefixes_distinguish_the_first_from_the_others() -> None:
    served = engine()
    result = await against(served, "prefix", "--prefixes", "2")
    [(_, run)] = result.runs
    assert len(run.outcomes) == 8
    assert set(run.findings) == {"TTFT of the first, ms", "TTFT of those after it, ms", "TTFT after / first"}
    prompts = [submission.prompt_token_ids for submission in served.submissions[-8:]]
    assert {len(prompt) for prompt in prompts} == {60}
    assert len({tuple(prompt[:52]) for prompt in prompts}) == 2
    assert "after a prefix of 52 tokens" in facts_of(result)["lengths"]


async def test_a_trace_is_replayed_with_its_lengths(tmp_path: Path) -> None:
    path = tmp_path / "small.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n0,9,3\n0.5,70,5\n0.7,11,1\n")
    served = engine()
    result = await against(served, "trace", "--trace", str(path), "--speedup", "1000")
    [(_, run)] = result.runs
    assert [outcome.num_output_tokens for outcome in run.outcomes] == [3, 5, 1]
    assert [len(submission.prompt_token_ids) for submission in served.submissions[-3:]] == [9, 59, 11]
    assert "! 0.00429 requests/s" not in report(result)
    assert "1 of 3 prompts were cut to the server's 64 tokens" in report(result)
    assert facts_of(result)["trace"] == "small.csv, 1000 times as fast as it was"
    assert str(tmp_path) not in json.dumps(result.as_json())


# Failures


async def test_failures_are_reported_and_not_counted() -> None:
    served = engine()
    served.refusals[4] = Overloaded("the queue is full", 1)
    result = await against(served, "streams", "--concurrency", "4")
    text = report(result)
    assert "4 sent, 2 succeeded, 2 failed" in text
    assert "! 4 streams: 2 of 4 requests failed; no latency or rate counts them" in text
    assert "! 4 streams: 2 x HTTP 429: the queue is full" in text
    [stage] = result.as_json()["measurements"][0]["stages"]
    assert (stage["num_ok"], stage["errors"]) == (2, {"HTTP 429: the queue is full": 2})
    assert sorted(one["ok"] for one in stage["requests"]) == [False, False, True, True]


async def test_a_warm_up_that_fails_ends_the_benchmark() -> None:
    served = engine()
    served.refusals[2] = Overloaded("the queue is full", 1)
    with pytest.raises(BenchError, match=r"warm-up request failed at .*: HTTP 429"):
        await against(served, "single", "--token-ids", "100:250", "--warmup", "2")


async def test_a_benchmark_in_which_nothing_succeeded_says_so() -> None:
    served = engine()
    served.refusals[2] = Overloaded("the queue is full", 1)
    result = await against(served, "single", "--token-ids", "100:250")
    assert not result.any_succeeded
    assert "TTFT     -" in report(result)


# Two servers, and repetitions


async def test_two_servers_take_turns_with_the_same_prompts_and_their_ratios_are_reported() -> None:
    ours, theirs = engine(), engine()
    async with listening(make_app(ours)) as (url, _), listening(make_app(theirs)) as (other, _):
        result = await measured("single", "--requests", "2", "--url", url, "--compare", other)
    assert [(one.server, one.repetition) for one in result.measurements] == [
        (name, repetition) for repetition in range(3) for name in "AB"
    ]
    prompts = [[submission.prompt_token_ids for submission in each.submissions[-6:]] for each in (ours, theirs)]
    assert prompts[0] == prompts[1]
    assert len({tuple(prompt) for prompt in prompts[0]}) == 6, "each repetition has prompts of its own"
    text = report(result)
    assert "A/B median" in text
    assert "server B" in text
    ratios = result.as_json()["ratios_a_over_b"]["1 stream"]
    assert len(ratios["TTFT p50, ms"]["ratios"]) == 3
    assert ratios["output tokens/s"]["median"] > 0


async def test_repetitions_are_reported_with_their_median() -> None:
    result = await against(engine(), "streams", "--concurrency", "2", "--repeat", "2")
    assert "2 streams, median of 2 repetitions" in report(result)
    assert len(result.as_json()["repetitions"]["A"]["2 streams"]["requests/s"]["values"]) == 2


# Reports


async def test_the_report_says_where_its_numbers_come_from() -> None:
    result = await against(engine(), "streams", "--concurrency", "2", "--slo", "ttft:500,itl:50")
    facts = facts_of(result)
    assert facts["seed"] == "7; 1 repetition(s), new prompts in each"
    assert facts["warm-up"] == "1 request(s) to each server, not in the numbers"
    assert facts["server"].startswith(f"millrace 1.2.3, model {MODEL}, 64 tokens at most, http://127.0.0.1:")
    assert facts["goodput"] == "successful requests with ttft ≤ 500 ms, itl ≤ 50 ms"
    assert {"date", "commit", "versions", "machine", "load average", "prompts", "asked by"} <= set(facts)
    text = report(result)
    for fact in facts.items():
        assert all(part in text for part in fact)
    for word in ("TTFT", "ITL", "TPOT", "E2E", "p50", "p90", "p99", "request throughput", "output throughput"):
        assert word in text


async def test_json_has_every_request_and_no_header(tmp_path: Path) -> None:
    served, path = engine(), tmp_path / "out.json"
    result = await against(served, "streams", "--concurrency", "2", "--header", "Authorization: Bearer secret")
    path.write_text(json.dumps(result.as_json()))
    [stage] = json.loads(path.read_text())["measurements"][0]["stages"]
    assert [one["output_tokens"] for one in stage["requests"]] == [4] * 4
    assert set(stage["ttft_ms"]) == {"count", "mean", "p50", "p90", "p99", "max"}
    assert "secret" not in path.read_text()


async def test_a_sweep_is_plotted_in_a_self_contained_page() -> None:
    result = await against(engine(), "streams", "--concurrency", "1,2", "--slo", "ttft:500")
    html = document(result)
    assert html.count("<svg") == 5
    assert "TTFT against load" in html
    assert "streams at once" in html
    assert not [word for word in ("http-equiv", "<script", "<link", "src=") if word in html]
    for svg in html.split("<figure>")[1:]:
        ElementTree.fromstring(svg.partition("</figure>")[0])


async def test_without_a_sweep_the_page_shows_how_latencies_are_distributed() -> None:
    html = document(await against(engine(), "single", "--requests", "2"))
    assert html.count("<svg") == 2
    assert "TTFT: share of all within a time" in html
