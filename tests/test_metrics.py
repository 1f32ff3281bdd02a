"""What is measured is what happened, once, and nothing that did not happen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from app.engine.stream import EngineDied, TokenStream
from app.messages import FinishReason, StepOutput, StepStats
from app.metrics import TOKEN_SECONDS, Metrics


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
    result.finish(reason)
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
    for verb, seconds in (("schedule", 0.002), ("execute", 0.02), ("update", 0.004)):
        assert value(metrics, "step_seconds_sum", verb=verb) == pytest.approx(seconds)
    assert value(metrics, "step_forward_seconds_sum") == pytest.approx(0.016)


def test_guesses_are_counted_and_those_that_were_right_by_place() -> None:
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
    assert value(metrics, "step_seconds_count", verb="execute") == 0


def test_a_whole_answer_is_measured_in_every_way() -> None:
    metrics, answer = Metrics(), ended(FinishReason.LENGTH, 3)
    metrics.sequence_scheduled(answer)
    metrics.first_token(answer)
    metrics.sequence_finished(answer)
    assert value(metrics, "requests_finished_total", finished_reason="length") == 1
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


def test_an_aborted_sequence_is_counted_but_its_length_is_not_an_answers() -> None:
    metrics, leaving = Metrics(), stream(3)
    leaving.close()
    metrics.sequence_finished(leaving)
    assert value(metrics, "requests_finished_total", finished_reason="abort") == 1
    for name in ("e2e_request_latency_seconds", "request_generation_tokens", "request_tokens_per_second"):
        assert value(metrics, f"{name}_count") == 0


def test_a_stream_that_goes_on_has_already_shown_its_wait_and_its_first_token() -> None:
    metrics, running = Metrics(), stream(1)
    metrics.sequence_scheduled(running)
    metrics.first_token(running)
    assert value(metrics, "request_queue_time_seconds_count") == 1
    assert value(metrics, "time_to_first_token_seconds_count") == 1
    assert value(metrics, "prompt_tokens_total") == 5


def test_a_sequence_that_was_never_scheduled_is_counted_as_an_end_only() -> None:
    metrics, lost = Metrics(), stream(0, scheduled=False)
    lost.fail(EngineDied("gone"))
    metrics.sequence_finished(lost)
    assert value(metrics, "requests_finished_total", finished_reason="error") == 1
    assert value(metrics, "e2e_request_latency_seconds_count") == 0


def test_every_outcome_is_there_from_the_start() -> None:
    assert [value(Metrics(), "requests_finished_total", finished_reason=reason) for reason in FinishReason] == [0] * 4


def test_a_restart_is_counted_and_empties_the_gauges() -> None:
    metrics = Metrics()
    metrics.step_taken(step())
    metrics.engine_restarted()
    assert value(metrics, "engine_restarts_total") == 1
    for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"):
        assert value(metrics, name) == 0


def test_gaps_of_a_millisecond_can_be_told_apart() -> None:
    metrics = Metrics()
    metrics.token_gap(0.0009, 1)
    metrics.token_gap(0.0019, 1)
    assert value(metrics, "inter_token_latency_seconds_bucket", le="0.001") == 1
    assert value(metrics, "inter_token_latency_seconds_bucket", le="0.002") == 2


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.0011, 0.5, 5.0, 5.1, 60.0]), st.integers(1, 300))))
def test_gaps_told_together_count_as_if_told_one_by_one(gaps: list[tuple[float, int]]) -> None:
    """In the text that Prometheus reads, held against the histogram of its own client."""
    metrics, registry = Metrics(), CollectorRegistry()
    name = "millrace_inter_token_latency_seconds"
    theirs = Histogram(name, "Between two output tokens of a sequence.", buckets=TOKEN_SECONDS, registry=registry)
    for seconds, count in gaps:
        metrics.token_gap(seconds, count)
        for _ in range(count):
            theirs.observe(seconds)
    expected, found = (
        [line for line in text.decode().splitlines() if name in line and "_created" not in line and "_sum" not in line]
        for text in (generate_latest(registry), metrics.render("")[0])
    )
    assert found == expected
    total = sum(seconds * count for seconds, count in gaps)
    assert value(metrics, "inter_token_latency_seconds_sum") == pytest.approx(total)


def test_two_servers_in_one_process_measure_apart() -> None:
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
