"""Every metric, once. Names are vLLM's after the prefix, where there is an equivalent."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from math import inf

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from app.engine.stream import TokenStream
from app.messages import FinishReason, StepOutput, StepStats

TOKEN_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5)
FIRST_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
REQUEST_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
STEP_SECONDS = (0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
NUM_TOKENS = tuple(2**power for power in range(18))
TOKENS_PER_SECOND = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 2000)


class BulkHistogram(Collector):
    """A histogram that takes many equal values at once: prometheus_client's own takes a microsecond for each.

    `buckets` are the upper bounds of all but the last bucket, which has none.
    """

    def __init__(self, name: str, help: str, buckets: tuple[float, ...], registry: CollectorRegistry) -> None:
        self._name = name
        self._help = help
        self._bounds = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float, count: int) -> None:
        self._counts[bisect_left(self._bounds, value)] += count
        self._sum += value * count

    def collect(self) -> Iterator[HistogramMetricFamily]:
        names = map(floatToGoString, (*self._bounds, inf))
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._help, buckets, self._sum)


class Metrics:
    """What is measured, told by the engine's client (as its `EngineObserver`) and by the HTTP layer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._make_engine_metrics()
        self._make_sequence_metrics()
        self._http_requests = self._counter("http_requests", "HTTP responses begun.", "route", "status")

    def render(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that the `Accept` header asks for, and that format's content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def step_taken(self, output: StepOutput) -> None:
        stats = output.stats
        self._running.set(stats.num_running)
        self._waiting.set(stats.num_waiting)
        self._cache_usage.set(1 - stats.num_free_blocks / stats.num_blocks)
        self._prefix_queries.inc(stats.num_prefix_queried)
        self._prefix_hits.inc(stats.num_prefix_hits)
        self._preemptions.inc(stats.num_preempted)
        self._generation_tokens.inc(len(output.token_ids))
        self._drafts.inc(stats.num_drafts)
        self._draft_tokens.inc(stats.num_draft_tokens)
        for position, num_accepted in enumerate(stats.num_accepted_per_position):
            self._accepted_tokens.inc(num_accepted)
            self._accepted_per_position.labels(str(position)).inc(num_accepted)
        if output.token_ids or stats.num_prefill_tokens:
            self._observe_step(stats)

    def _observe_step(self, stats: StepStats) -> None:
        """Only steps that computed something: the others are reports, and would make the rest look fast."""
        self._schedule_seconds.observe(stats.schedule_seconds)
        self._execute_seconds.observe(stats.execute_seconds)
        self._update_seconds.observe(stats.update_seconds)
        self._forward_seconds.observe(stats.forward_seconds)

    def sequence_scheduled(self, stream: TokenStream) -> None:
        if stream.times.scheduled is not None:
            self._queue.observe(stream.times.scheduled - stream.times.arrived)
        self._prompt_tokens.inc(stream.num_prompt_tokens)
        self._request_prompt_tokens.observe(stream.num_prompt_tokens)

    def first_token(self, stream: TokenStream) -> None:
        if stream.times.first_token is not None:
            self._first_token.observe(stream.times.first_token - stream.times.arrived)

    def token_gap(self, seconds: float, count: int) -> None:
        self._inter_token.observe(seconds, count)

    def sequence_finished(self, stream: TokenStream) -> None:
        """Durations of what happened; the length and speed of a whole answer only where it came to its end."""
        reason = stream.finish_reason or FinishReason.ABORT
        self._finished[reason].inc()
        if reason in (FinishReason.STOP, FinishReason.LENGTH):
            self._observe_whole(stream)

    def _observe_whole(self, stream: TokenStream) -> None:
        times, num_tokens = stream.times, stream.num_output_tokens
        self._request_generation_tokens.observe(num_tokens)
        if times.finished is not None:
            elapsed = times.finished - times.arrived
            self._end_to_end.observe(elapsed)
            if elapsed > 0:
                self._tokens_per_second.observe(num_tokens / elapsed)
        if times.first_token is not None and times.last_token is not None and num_tokens > 1:
            self._per_token.observe((times.last_token - times.first_token) / (num_tokens - 1))

    def sequence_recovered(self) -> None:
        self._recovered.inc()

    def engine_restarted(self) -> None:
        """A new engine has nothing running: without this the gauges would show the old one until its first step."""
        self._restarts.inc()
        for gauge in (self._running, self._waiting, self._cache_usage):
            gauge.set(0)

    def http_response(self, route: str, status: int) -> None:
        """Count a response by the template of its route, so that no path a client invents makes a new series."""
        self._http_requests.labels(route, str(status)).inc()

    def _make_engine_metrics(self) -> None:
        self._running = self._gauge("num_requests_running", "Sequences in the running batch.")
        self._waiting = self._gauge("num_requests_waiting", "Sequences waiting to be scheduled.")
        self._cache_usage = self._gauge("kv_cache_usage_perc", "Share of KV cache blocks in use; 1 is all of them.")
        self._prefix_queries = self._counter("prefix_cache_queries", "Prompt tokens looked up in the prefix cache.")
        self._prefix_hits = self._counter("prefix_cache_hits", "Prompt tokens found in the prefix cache.")
        self._preemptions = self._counter("num_preemptions", "Times a running sequence gave its blocks back.")
        self._generation_tokens = self._counter("generation_tokens", "Output tokens made by the engine.")
        self._drafts = self._counter("spec_decode_num_drafts", "Times that tokens were guessed for a sequence.")
        self._draft_tokens = self._counter("spec_decode_num_draft_tokens", "Tokens guessed.")
        self._accepted_tokens = self._counter("spec_decode_num_accepted_tokens", "Guessed tokens that were right.")
        self._accepted_per_position = self._counter(
            "spec_decode_num_accepted_tokens_per_pos",
            "Guessed tokens that were right, by place.",
            "position",
        )
        self._restarts = self._counter("engine_restarts", "Times the engine process was started again.")
        self._recovered = self._counter(
            "sequences_recovered", "Open sequences that went on in an engine that was started again."
        )
        steps = self._histogram("step_seconds", "Time of one step, by what it was spent on.", STEP_SECONDS, "verb")
        self._schedule_seconds, self._execute_seconds, self._update_seconds = (
            steps.labels(verb) for verb in ("schedule", "execute", "update")
        )
        self._forward_seconds = self._histogram(
            "step_forward_seconds", "Part of a step's execute that is the model's forward pass.", STEP_SECONDS
        )

    def _make_sequence_metrics(self) -> None:
        finished = self._counter("requests_finished", "Sequences ended, whatever their end.", "finished_reason")
        self._finished = {reason: finished.labels(reason.value) for reason in FinishReason}
        self._prompt_tokens = self._counter("prompt_tokens", "Prompt tokens of sequences that were scheduled.")
        self._first_token = self._histogram(
            "time_to_first_token_seconds", "From arrival to the first output token.", FIRST_TOKEN_SECONDS
        )
        self._inter_token = BulkHistogram(
            "millrace_inter_token_latency_seconds",
            "Between two output tokens of a sequence.",
            TOKEN_SECONDS,
            self.registry,
        )
        self._per_token = self._histogram(
            "request_time_per_output_token_seconds", "Mean time of a token after a sequence's first.", TOKEN_SECONDS
        )
        self._queue = self._histogram("request_queue_time_seconds", "From arrival to being scheduled.", REQUEST_SECONDS)
        self._end_to_end = self._histogram(
            "e2e_request_latency_seconds", "From arrival to the end, of sequences that came to it.", REQUEST_SECONDS
        )
        self._request_prompt_tokens = self._histogram(
            "request_prompt_tokens", "Prompt tokens of a sequence.", NUM_TOKENS
        )
        self._request_generation_tokens = self._histogram(
            "request_generation_tokens", "Output tokens of a sequence that came to its end.", NUM_TOKENS
        )
        self._tokens_per_second = self._histogram(
            "request_tokens_per_second", "Output tokens over end-to-end time of a sequence.", TOKENS_PER_SECOND
        )

    def _gauge(self, name: str, help: str) -> Gauge:
        return Gauge(f"millrace_{name}", help, registry=self.registry)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"millrace_{name}", help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"millrace_{name}", help, labels, buckets=buckets, registry=self.registry)
