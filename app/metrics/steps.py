"""What the engine's steps tell: who runs and who waits and why, the cache, the tokens, and where the time goes."""

from __future__ import annotations

from app.messages import EngineReady, StepOutput, StepStats, WaitReason
from app.metrics.instruments import NUM_TOKENS, STEP_SECONDS, Instruments


class StepMetrics:
    def __init__(self, make: Instruments) -> None:
        self._make_scheduling(make)
        self._make_cache(make)
        self._make_speculation(make)
        self._make_engine(make)

    def step_taken(self, output: StepOutput) -> None:
        stats = output.stats
        self._running.set(stats.num_running)
        self._waiting.set(stats.num_waiting)
        for reason, waiting in self._waiting_by_reason.items():
            waiting.set(stats.waiting_for.get(reason, 0))
        self._cache_usage.set(1 - stats.num_free_blocks / stats.num_blocks)
        self._prefix_queries.inc(stats.num_prefix_queried)
        self._prefix_hits.inc(stats.num_prefix_hits)
        self._preemptions.inc(stats.num_preempted)
        self._preempted_tokens.inc(stats.num_lost)
        self._recomputed_tokens.inc(stats.num_recomputed)
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
        self._forward_seconds.observe(stats.forward_seconds)
        self._sample_seconds.observe(stats.sample_seconds)
        self._other_seconds.observe(stats.input_seconds + stats.update_seconds)
        if stats.num_prefill_tokens:
            self._prefill_tokens.observe(stats.num_prefill_tokens)
        if stats.num_decode_tokens:
            self._decode_tokens.observe(stats.num_decode_tokens)

    def engine_ready(self, ready: EngineReady) -> None:
        for phase, seconds in ready.phases.items():
            self._startup.labels(phase).set(seconds)

    def engine_restarted(self) -> None:
        """A new engine has nothing running: without this the gauges would show the old one until its first step."""
        self._restarts.inc()
        for gauge in (self._running, self._waiting, *self._waiting_by_reason.values(), self._cache_usage):
            gauge.set(0)

    def sequence_recovered(self) -> None:
        self._recovered.inc()

    def _make_scheduling(self, make: Instruments) -> None:
        self._running = make.gauge("num_requests_running", "Sequences in the running batch.")
        self._waiting = make.gauge("num_requests_waiting", "Sequences waiting to be scheduled.")
        by_reason = make.gauge("num_requests_waiting_by_reason", "Those that wait, by what they lack.", "reason")
        self._waiting_by_reason = {reason: by_reason.labels(reason.value) for reason in WaitReason}
        self._preemptions = make.counter("num_preemptions", "Times a running sequence gave its blocks back.")
        self._preempted_tokens = make.counter("preempted_tokens", "Computed tokens whose blocks were given back.")
        self._recomputed_tokens = make.counter("recomputed_tokens", "Tokens computed again after a preemption.")
        self._generation_tokens = make.counter("generation_tokens", "Output tokens made by the engine.")
        iterations = make.histogram("iteration_tokens", "Tokens computed in one step, by kind.", NUM_TOKENS, "kind")
        self._prefill_tokens, self._decode_tokens = (iterations.labels(kind) for kind in ("prefill", "decode"))
        steps = make.histogram("step_seconds", "Time of one step, by what it was spent on.", STEP_SECONDS, "part")
        self._schedule_seconds, self._forward_seconds, self._sample_seconds, self._other_seconds = (
            steps.labels(part) for part in ("schedule", "forward", "sample", "other")
        )

    def _make_cache(self, make: Instruments) -> None:
        self._cache_usage = make.gauge("kv_cache_usage_perc", "Share of KV cache blocks in use; 1 is all of them.")
        self._prefix_queries = make.counter("prefix_cache_queries", "Prompt tokens looked up in the prefix cache.")
        self._prefix_hits = make.counter("prefix_cache_hits", "Prompt tokens found in the prefix cache.")

    def _make_speculation(self, make: Instruments) -> None:
        self._drafts = make.counter("spec_decode_num_drafts", "Times that tokens were guessed for a sequence.")
        self._draft_tokens = make.counter("spec_decode_num_draft_tokens", "Tokens guessed.")
        self._accepted_tokens = make.counter("spec_decode_num_accepted_tokens", "Guessed tokens that were right.")
        self._accepted_per_position = make.counter(
            "spec_decode_num_accepted_tokens_per_pos", "Guessed tokens that were right, by place.", "position"
        )

    def _make_engine(self, make: Instruments) -> None:
        self._restarts = make.counter("engine_restarts", "Times the engine process was started again.")
        self._recovered = make.counter(
            "sequences_recovered", "Open sequences that went on in an engine that was started again."
        )
        self._startup = make.gauge("startup_seconds", "Time of the last start of the engine, by phase.", "phase")
