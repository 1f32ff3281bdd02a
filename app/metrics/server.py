"""Metrics of the HTTP layer: responses, rejections, event-loop lag, readiness, and what is served."""

from __future__ import annotations

from app.messages import EngineReady
from app.metrics.instruments import TOKEN_SECONDS, Instruments

RATE_LIMITS = ("requests", "tokens", "concurrent_requests")
COMMON_REJECTIONS = (
    *("overloaded", "queue_share", "unavailable", "context_length_exceeded", "invalid_value"),
    *(f"rate_limit_{limit}" for limit in RATE_LIMITS),
)
"""Reasons that are exported from the start, so that the first rejection already shows in a rate."""

MAX_NAMES = 100
"""How many key names become labels; the rejections of all other keys are counted together."""


class ServerMetrics:
    def __init__(self, make: Instruments) -> None:
        self._http_requests = make.counter("http_requests", "HTTP responses started.", "route", "status")
        self._rejections = make.counter(
            "admission_rejections", "Requests rejected before anything was generated, by error code.", "reason"
        )
        for reason in COMMON_REJECTIONS:
            self._rejections.labels(reason)
        self._rate_limited = make.counter(
            "rate_limited", "Requests rejected by a rate limit, by limit and name of the key.", "limit", "key"
        )
        self._names: set[str] = set()
        self._loop_lag = make.histogram(
            "event_loop_lag_seconds", "How late the event loop of the API process fires a timer.", TOKEN_SECONDS
        )
        self._ready = make.gauge("engine_ready", "1 while requests are accepted, else 0.")
        self._step_age = make.gauge("last_step_age_seconds", "Time since the last step; 0 before the first.")
        self._info = make.gauge(
            "model_info", "Always 1; the labels describe the model and how it is served.", *INFO_LABELS
        )

    def http_response(self, route: str, status: int) -> None:
        """Count a response by the template of its route, so that clients cannot create series by inventing paths."""
        self._http_requests.labels(route, str(status)).inc()

    def request_rejected(self, reason: str) -> None:
        self._rejections.labels(reason).inc()

    def rate_limited(self, limit: str, name: str) -> None:
        """Count a rejection by a rate limit, by the name of the key."""
        if name in self._names or len(self._names) < MAX_NAMES:
            self._names.add(name)
        else:
            name = "other"
        self._rate_limited.labels(limit, name).inc()

    def loop_was_late(self, seconds: float) -> None:
        self._loop_lag.observe(seconds)

    def health_seen(self, is_ready: bool, last_step_age: float | None) -> None:
        """Set the gauges that are only computed for a scrape."""
        self._ready.set(is_ready)
        self._step_age.set(last_step_age or 0)

    def model_loaded(self, model_name: str, version: str, ready: EngineReady) -> None:
        names = (model_name, version, ready.device, ready.dtype, ready.backend, ready.quantization)
        sizes = (ready.max_model_len, ready.block_size, ready.num_blocks, ready.num_parameters)
        self._info.clear()
        self._info.labels(*names, *map(str, sizes)).set(1)


INFO_LABELS = (
    *("model_name", "version", "device", "dtype", "backend", "quantization"),
    *("max_model_len", "block_size", "num_blocks", "num_parameters"),
)
