"""Metrics of sequences: their tokens, their latencies and how they end."""

from __future__ import annotations

from app.engine.stream import CutReason, EndReason, TokenStream
from app.messages import FinishReason
from app.metrics.instruments import (
    FIRST_TOKEN_SECONDS,
    NUM_TOKENS,
    REQUEST_SECONDS,
    TOKEN_SECONDS,
    TOKENS_PER_SECOND,
    Instruments,
)


def exemplar_of(stream: TokenStream) -> dict[str, str] | None:
    """The exemplar that links a histogram's bucket to the sequence's trace; None if it is not traced."""
    return {"trace_id": stream.trace_id} if stream.trace_id else None


class SequenceMetrics:
    """Updated once per sequence or token. `block_size` is the engine's, in tokens; 0 until it is known."""

    def __init__(self, make: Instruments) -> None:
        self.block_size = 0
        self._make_prompts(make)
        self._make_latencies(make)
        self._make_ends(make)

    def sequence_scheduled(self, stream: TokenStream) -> None:
        exemplar = exemplar_of(stream)
        if stream.times.scheduled is not None:
            self._queue.observe(stream.times.scheduled - stream.times.arrived, exemplar)
        num_tokens, num_cached = stream.num_prompt_tokens, stream.num_cached_tokens
        self._prompt_tokens.inc(num_tokens)
        self._computed_tokens.inc(num_tokens - num_cached)
        self._cached_tokens.inc(num_cached)
        self._short_prompts.inc(num_tokens < self.block_size)
        self._request_prompt_tokens.observe(num_tokens, exemplar)

    def first_token(self, stream: TokenStream) -> None:
        times, exemplar = stream.times, exemplar_of(stream)
        if times.first_token is not None:
            self._first_token.observe(times.first_token - times.arrived, exemplar)
            if times.scheduled is not None:
                self._prefill.observe(times.first_token - times.scheduled, exemplar)

    def token_gap(self, seconds: float, count: int, example: TokenStream) -> None:
        self._inter_token.observe(seconds, count, exemplar_of(example))

    def sequence_finished(self, stream: TokenStream) -> None:
        """Count how a sequence ended. The length and speed of an answer are only observed if it is complete."""
        reason = stream.finish_reason or FinishReason.ABORT
        self._finished[reason].inc()
        if reason in (FinishReason.STOP, FinishReason.LENGTH):
            self._observe_whole(stream)

    def _observe_whole(self, stream: TokenStream) -> None:
        times, num_tokens, exemplar = stream.times, stream.num_output_tokens, exemplar_of(stream)
        self._request_generation_tokens.observe(num_tokens, exemplar)
        if times.finished is not None:
            elapsed = times.finished - times.arrived
            self._end_to_end.observe(elapsed, exemplar)
            if elapsed > 0:
                self._tokens_per_second.observe(num_tokens / elapsed, exemplar)
        if times.first_token is not None and times.last_token is not None and num_tokens > 1:
            decoding = times.last_token - times.first_token
            self._decode.observe(decoding, exemplar)
            self._per_token.observe(decoding / (num_tokens - 1), exemplar)

    def _make_prompts(self, make: Instruments) -> None:
        self._prompt_tokens = make.counter("prompt_tokens", "Prompt tokens of scheduled sequences.")
        by_source = make.counter("prompt_tokens_by_source", "Prompt tokens, by source: computed, or cached.", "source")
        self._computed_tokens = by_source.labels("local_compute")
        self._cached_tokens = by_source.labels("local_cache_hit")
        self._short_prompts = make.counter(
            "prefix_cache_short_prompts", "Prompts shorter than a block, which the prefix cache cannot help."
        )
        self._request_prompt_tokens = make.histogram("request_prompt_tokens", "Prompt tokens per sequence.", NUM_TOKENS)

    def _make_latencies(self, make: Instruments) -> None:
        self._first_token = make.latency(
            "time_to_first_token_seconds", "Time from arrival to the first output token.", FIRST_TOKEN_SECONDS
        )
        self._inter_token = make.bulk_latency(
            "inter_token_latency_seconds", "Time between two output tokens of a sequence.", TOKEN_SECONDS
        )
        self._per_token = make.latency(
            "request_time_per_output_token_seconds",
            "Mean time per output token of a sequence after its first.",
            TOKEN_SECONDS,
        )
        self._queue = make.latency(
            "request_queue_time_seconds", "Time from arrival to being scheduled.", REQUEST_SECONDS
        )
        self._prefill = make.latency(
            "request_prefill_time_seconds", "Time from being scheduled to the first output token.", REQUEST_SECONDS
        )
        self._decode = make.latency(
            "request_decode_time_seconds", "Time from the first output token to the last.", REQUEST_SECONDS
        )
        self._end_to_end = make.latency(
            "e2e_request_latency_seconds", "Time from arrival to the end of complete sequences.", REQUEST_SECONDS
        )

    def _make_ends(self, make: Instruments) -> None:
        finished = make.counter("request_success", "Sequences ended, by finish reason.", "finished_reason")
        reasons: tuple[EndReason, ...] = (*FinishReason, *CutReason)
        self._finished = {reason: finished.labels(reason.value) for reason in reasons}
        self._request_generation_tokens = make.histogram(
            "request_generation_tokens", "Output tokens per complete sequence.", NUM_TOKENS
        )
        self._tokens_per_second = make.histogram(
            "request_tokens_per_second", "Output tokens per second of a sequence, end to end.", TOKENS_PER_SECOND
        )
