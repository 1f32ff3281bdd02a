"""The metrics count everything that happened exactly once, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from app.engine.stream import CutReason, EngineDied, TokenStream
from app.messages import FinishReason, StepOutput, StepStats, WaitReason
from app.metrics import Metrics
from app.metrics.instruments import TOKEN_SECONDS
from tests.scripted_engine import READY


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(f"millrace_{name}", labels)
    assert found is not None, name
    return found


def step(**changes: Any) -> StepOutput:
    stats = {
        "num_running": 2,
        "num_waiting": 1,
        "num_free_blocks": 6,
        "num_blocks": 8,
        "num_prefill_tokens": 0,
        "num_decode_tokens": 2,
        "num_prefix_queried": 10,
        "num_prefix_hits": 4,
        "num_preempted": 1,
        "schedule_seconds": 0.001,
        "execute_seconds": 0.01,
        "update_seconds": 0.002,
        "forward_seconds": 0.008,
        "input_seconds": 0.0005,
        "num_lost": 9,
        "num_recomputed": 5,
    }
    return StepOutput([1, 2], [7, 7], {}, StepStats(**(stats | changes)))


def stream(num_tokens: int, *, scheduled: bool = True) -> TokenStream:
    """Arrived at 10, scheduled at 11, first token at 12, one each second, finished half a second after the last."""
    result = TokenStream(1, 5, 10.0, lambda _: None)
    result.times.scheduled = 11.0 if scheduled else None
    for number in range(num_tokens):
        result.push(7, None, 12.0 + number)
    result.times.finished = 11.5 + num_tokens
    return result


def ended(reason: FinishReason, num_tokens: int) -> TokenStream:
    result = stream(num_tokens)
    result.end(reason)
    return result


def test_a_step_sets_the_gauges_and_adds_to_the_counters() -> None:
    metrics = Metrics()
    metrics.step_taken(step())
    metrics.step_taken(step(num_running=1, num_free_blocks=8))
    assert value(metrics, "num_requests_running") == 1
    assert value(metrics, "num_requests_waiting") == 1
    assert value(metrics, "kv_cache_usage_perc") == 0
    assert value(metrics, "prefix_cache_queries_total") == 20
    assert value(metrics, "prefix_cache_hits_total") == 8
    assert value(metrics, "num_preemptions_total") == 2
    assert value(metrics, "generation_tokens_total") == 4
    assert value(metrics, "preempted_tokens_total") == 18
    assert value(metrics, "recomputed_tokens_total") == 10


def test_the_parts_of_a_steps_time_add_up() -> None:
    metrics = Metrics()
    metrics.step_taken(step())
    parts = {part: value(metrics, "step_seconds_sum", part=part) for part in ("schedule", "forward", "sample", "other")}
    assert parts == pytest.approx({"schedule": 0.001, "forward": 0.008, "sample": 0.0015, "other": 0.0025})
    assert sum(parts.values()) == pytest.approx(0.001 + 0.01 + 0.002)


def test_tokens_of_a_step_are_observed_by_kind_unless_there_were_none() -> None:
    metrics = Metrics()
    metrics.step_taken(step(num_prefill_tokens=100))
    metrics.step_taken(step())
    assert value(metrics, "iteration_tokens_sum", kind="prefill") == 100
    assert value(metrics, "iteration_tokens_count", kind="prefill") == 1
    assert value(metrics, "iteration_tokens_sum", kind="decode") == 4


def test_a_wait_reason_that_no_longer_holds_is_reset() -> None:
    metrics = Metrics()
    metrics.step_taken(step(num_waiting=3, waiting_for={WaitReason.BLOCKS: 1, WaitReason.BUDGET: 2}))
    metrics.step_taken(step(num_waiting=1, waiting_for={WaitReason.BUDGET: 1}))
    waiting = [value(metrics, "num_requests_waiting_by_reason", reason=reason) for reason in WaitReason]
    assert waiting == [0, 1, 0]


def test_draft_tokens_are_counted_and_accepted_ones_by_position() -> None:
    metrics = Metrics()
    metrics.step_taken(step())
    assert value(metrics, "spec_decode_num_drafts_total") == 0
    metrics.step_taken(step(num_drafts=2, num_draft_tokens=7, num_accepted_per_position=(2, 1, 1)))
    metrics.step_taken(step(num_drafts=1, num_draft_tokens=3, num_accepted_per_position=(1,)))
    assert value(metrics, "spec_decode_num_drafts_total") == 3
    assert value(metrics, "spec_decode_num_draft_tokens_total") == 10
    assert value(metrics, "spec_decode_num_accepted_tokens_total") == 5
    places = [value(metrics, "spec_decode_num_accepted_tokens_per_pos_total", position=str(i)) for i in range(3)]
    assert places == [3, 1, 1]


def test_a_step_that_computed_nothing_is_no_step() -> None:
    metrics = Metrics()
    metrics.step_taken(replace(step(), seq_ids=[], token_ids=[]))
    assert value(metrics, "num_requests_running") == 2
    assert value(metrics, "step_seconds_count", part="forward") == 0


def test_a_complete_answer_is_measured_in_every_way() -> None:
    metrics, answer = Metrics(), ended(FinishReason.LENGTH, 3)
    metrics.sequence_scheduled(answer)
    metrics.first_token(answer)
    metrics.sequence_finished(answer)
    assert value(metrics, "request_success_total", finished_reason="length") == 1
    assert value(metrics, "request_queue_time_seconds_sum") == 1.0
    assert value(metrics, "time_to_first_token_seconds_sum") == 2.0
    assert value(metrics, "request_time_per_output_token_seconds_sum") == 1.0
    assert value(metrics, "e2e_request_latency_seconds_sum") == 4.5
    assert value(metrics, "request_tokens_per_second_sum") == pytest.approx(3 / 4.5)
    assert value(metrics, "prompt_tokens_total") == 5
    assert value(metrics, "request_prompt_tokens_sum") == 5
    assert value(metrics, "request_generation_tokens_sum") == 3


def test_an_answer_of_one_token_has_no_time_per_token() -> None:
    metrics = Metrics()
    metrics.sequence_finished(ended(FinishReason.STOP, 1))
    assert value(metrics, "request_time_per_output_token_seconds_count") == 0
    assert value(metrics, "e2e_request_latency_seconds_count") == 1


def test_an_aborted_sequence_is_counted_but_its_length_is_not_observed() -> None:
    metrics, leaving = Metrics(), stream(3)
    leaving.close()
    metrics.sequence_finished(leaving)
    assert value(metrics, "request_success_total", finished_reason="abort") == 1
    for name in ("e2e_request_latency_seconds", "request_generation_tokens", "request_tokens_per_second"):
        assert value(metrics, f"{name}_count") == 0


def test_an_open_stream_has_already_observed_its_queue_time_and_first_token() -> None:
    metrics, running = Metrics(), stream(1)
    metrics.sequence_scheduled(running)
    metrics.first_token(running)
    assert value(metrics, "request_queue_time_seconds_count") == 1
    assert value(metrics, "time_to_first_token_seconds_count") == 1
    assert value(metrics, "prompt_tokens_total") == 5


def test_a_sequence_that_was_never_scheduled_is_counted_as_an_end_only() -> None:
    metrics, lost = Metrics(), stream(0, scheduled=False)
    lost.end(CutReason.ENGINE_DIED, EngineDied("gone"))
    metrics.sequence_finished(lost)
    assert value(metrics, "request_success_total", finished_reason="engine_died") == 1
    assert value(metrics, "e2e_request_latency_seconds_count") == 0


def test_every_outcome_is_there_from_the_start() -> None:
    ends = [value(Metrics(), "request_success_total", finished_reason=reason) for reason in (*FinishReason, *CutReason)]
    assert ends == [0] * (len(FinishReason) + len(CutReason))


def test_a_restart_is_counted_and_empties_the_gauges() -> None:
    metrics = Metrics()
    metrics.step_taken(step())
    metrics.engine_restarted()
    assert value(metrics, "engine_restarts_total") == 1
    for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"):
        assert value(metrics, name) == 0


def test_gaps_of_a_millisecond_are_in_different_buckets() -> None:
    metrics = Metrics()
    metrics.token_gap(0.0009, 1, stream(2))
    metrics.token_gap(0.0019, 1, stream(2))
    assert value(metrics, "inter_token_latency_seconds_bucket", le="0.001") == 1
    assert value(metrics, "inter_token_latency_seconds_bucket", le="0.002") == 2


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.0011, 0.5, 5.0, 5.1, 60.0]), st.integers(1, 300))))
def test_gaps_reported_together_count_as_if_reported_one_by_one(gaps: list[tuple[float, int]]) -> None:
    """In the text that Prometheus reads, held against the histogram of its own client."""
    metrics, registry, example = Metrics(), CollectorRegistry(), stream(2)
    name = "millrace_inter_token_latency_seconds"
    theirs = Histogram(name, "Time between two output tokens of a sequence.", buckets=TOKEN_SECONDS, registry=registry)
    for seconds, count in gaps:
        metrics.token_gap(seconds, count, example)
        for _ in range(count):
            theirs.observe(seconds)
    expected, found = (
        [line for line in text.decode().splitlines() if name in line and "_created" not in line and "_sum" not in line]
        for text in (generate_latest(registry), metrics.render("")[0])
    )
    assert found == expected
    total = sum(seconds * count for seconds, count in gaps)
    assert value(metrics, "inter_token_latency_seconds_sum") == pytest.approx(total)


def test_two_servers_in_one_process_have_separate_metrics() -> None:
    first, second = Metrics(), Metrics()
    first.http_response("/health", 200)
    assert value(first, "http_requests_total", route="/health", status="200") == 1
    assert (
        second.registry.get_sample_value("millrace_http_requests_total", {"route": "/health", "status": "200"}) is None
    )


def test_the_process_is_measured_too() -> None:
    content, content_type = Metrics().render("")
    assert content_type.startswith("text/plain")
    for name in (b"process_resident_memory_bytes", b"python_info", b"python_gc_collections_total"):
        assert name in content


def test_the_time_to_the_first_token_is_divided_into_queue_time_and_prefill_time() -> None:
    metrics, answer = Metrics(), ended(FinishReason.STOP, 3)
    metrics.sequence_scheduled(answer)
    metrics.first_token(answer)
    metrics.sequence_finished(answer)
    assert value(metrics, "request_queue_time_seconds_sum") == 1.0
    assert value(metrics, "request_prefill_time_seconds_sum") == 1.0
    assert value(metrics, "request_decode_time_seconds_sum") == 2.0


def test_prompt_tokens_are_computed_or_cached_and_short_prompts_have_no_block_to_share() -> None:
    metrics, hit = Metrics(), stream(1)
    metrics.engine_ready(READY)
    hit.num_cached_tokens = 3
    metrics.sequence_scheduled(hit)
    assert value(metrics, "prompt_tokens_by_source_total", source="local_compute") == 2
    assert value(metrics, "prompt_tokens_by_source_total", source="local_cache_hit") == 3
    assert value(metrics, "prefix_cache_short_prompts_total") == 1
    long = TokenStream(2, READY.block_size, 0.0, lambda _: None)
    metrics.sequence_scheduled(long)
    assert value(metrics, "prefix_cache_short_prompts_total") == 1
    assert value(metrics, "prompt_tokens_total") == 5 + READY.block_size


def test_the_model_is_described_by_one_series_even_after_a_restart() -> None:
    metrics = Metrics(model_name="tiny", version="1.2.3")
    metrics.engine_ready(replace(READY, phases={"loading the weights": 1.5}))
    metrics.engine_ready(replace(READY, num_blocks=9, phases={"loading the weights": 0.5}))
    [info] = [family for family in metrics.registry.collect() if family.name == "millrace_model_info"]
    [sample] = info.samples
    assert sample.labels.items() >= {"model_name": "tiny", "version": "1.2.3", "num_blocks": "9"}.items()
    assert value(metrics, "startup_seconds", phase="loading the weights") == 0.5


def test_buckets_of_latencies_can_be_given_and_those_of_sizes_stay() -> None:
    metrics = Metrics(latency_buckets=(0.004, 0.4))
    bounds = {name: [] for name in ("time_to_first_token_seconds", "inter_token_latency_seconds")}
    for family in metrics.registry.collect():
        name = family.name.removeprefix("millrace_")
        if name in bounds:
            bounds[name] = [sample.labels["le"] for sample in family.samples if "le" in sample.labels]
    assert list(bounds.values()) == [["0.004", "0.4", "+Inf"]] * 2
    assert value(metrics, "request_prompt_tokens_bucket", le="65536.0") == 0


OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def test_a_bucket_leads_to_the_trace_of_a_request_that_fell_into_it() -> None:
    metrics, traced = Metrics(), ended(FinishReason.STOP, 3)
    traced.trace_id = "ab" * 16
    metrics.first_token(traced)
    metrics.token_gap(0.0015, 7, traced)
    metrics.sequence_finished(traced)
    families = text_string_to_metric_families(metrics.render(OPENMETRICS)[0].decode())
    found = {
        sample.name.removeprefix("millrace_").removesuffix("_bucket"): sample.exemplar
        for family in families
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert {exemplar.labels["trace_id"] for exemplar in found.values()} == {"ab" * 16}
    assert found["inter_token_latency_seconds"].value == 0.0015
    assert found["time_to_first_token_seconds"].value == 2.0
    assert found["e2e_request_latency_seconds"].value == 4.5
    assert "trace_id" not in metrics.render("text/plain")[0].decode(), "the plain format has no place for it"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_names_and_help_pass_promtool() -> None:
    metrics, traced = Metrics(), ended(FinishReason.LENGTH, 3)
    traced.trace_id = "ab" * 16
    metrics.engine_ready(READY)
    metrics.step_taken(step(num_accepted_per_position=(1,), num_drafts=1))
    metrics.sequence_scheduled(traced)
    metrics.first_token(traced)
    metrics.token_gap(0.01, 1, traced)
    metrics.sequence_finished(traced)
    metrics.http_response("/health", 200)
    checked = subprocess.run(["promtool", "check", "metrics"], input=metrics.render("")[0], capture_output=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
