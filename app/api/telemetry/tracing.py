"""OpenTelemetry spans and metrics, sent over OTLP, under the names of its conventions for generative AI.

OpenTelemetry's own environment variables say whether, where to and how much. Without them nothing of it is imported,
and requests cost nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.api.record import RequestRecord, Trace
from app.api.telemetry.span_attributes import content_attributes, metric_attributes, request_attributes
from app.api.telemetry.timings import Timings
from app.logs import wall_clock

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

CAPTURE_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
PROTOCOL = "http/protobuf"
SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)


class TelemetryError(RuntimeError):
    """OpenTelemetry is configured in a way that is not supported; the message says what would work."""


def is_asked_for(signal: str, environment: Mapping[str, str]) -> bool:
    """Whether `signal`, TRACES or METRICS, is to be sent, because its exporter or an endpoint is set. Raises
    TelemetryError.
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    default = "otlp" if any(environment.get(name) for name in endpoints) else "none"
    exporter = environment.get(f"OTEL_{signal}_EXPORTER") or default
    if exporter not in ("otlp", "none"):
        raise TelemetryError(f"OTEL_{signal}_EXPORTER={exporter} is not supported; use otlp or none")
    return exporter == "otlp"


class Telemetry:
    """Starts a span for a request, ends it with what the record says, and observes durations as metrics."""

    def __init__(
        self,
        model_name: str,
        traces: TracerProvider | None,
        metrics: MeterProvider | None,
        *,
        captures_content: bool,
    ) -> None:
        self._model_name = model_name
        self._providers = [provider for provider in (traces, metrics) if provider is not None]
        self._tracer = traces.get_tracer("millrace") if traces is not None else None
        self._durations = _Durations(metrics.get_meter("millrace")) if metrics is not None else None
        self._captures_content = captures_content

    def begin(self, headers: Mapping[str, str], record: RequestRecord) -> Span | None:
        """Start a span as a child of the client's, and make it the record's trace. None where none is wanted."""
        if self._tracer is None or not record.operation:
            return None
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

        span = self._tracer.start_span(
            f"{record.operation} {self._model_name}",
            extract(dict(headers)),
            SpanKind.SERVER,
            start_time=_nanoseconds(record.arrived),
        )
        context = span.get_span_context()
        record.trace = Trace(
            format_trace_id(context.trace_id), format_span_id(context.span_id), context.trace_flags.sampled
        )
        return span

    def end(self, span: Span | None, record: RequestRecord, timings: Timings) -> None:
        """Report a request that has ended."""
        if not record.operation:
            return
        if self._durations is not None:
            attributes = metric_attributes(self._model_name, record)
            self._durations.observe(timings, attributes, ok=record.error is None)
        if span is None:
            return
        if span.is_recording():
            span.set_attributes(request_attributes(self._model_name, record, timings))
            if self._captures_content:
                span.set_attributes(content_attributes(record))
            _add_events(span, record)
            if record.error is not None and record.error.status >= 500:
                from opentelemetry.trace import StatusCode

                span.set_status(StatusCode.ERROR, str(record.error))
        span.end()

    def close(self) -> None:
        """Send what has not been sent yet. May take as long as the exporter's timeout."""
        for provider in self._providers:
            provider.shutdown()


class _Durations:
    def __init__(self, meter: Meter) -> None:
        def histogram(name: str, description: str) -> Histogram:
            return meter.create_histogram(
                f"gen_ai.server.{name}", "s", description, explicit_bucket_boundaries_advisory=SECONDS
            )

        self._duration = histogram("request.duration", "From arrival to the last byte.")
        self._first_token = histogram("time_to_first_token", "From arrival to the first output token.")
        self._per_token = histogram("time_per_output_token", "Mean time of an output token after the first.")

    def observe(self, timings: Timings, attributes: dict[str, str], *, ok: bool) -> None:
        """Token times are observed for requests that succeeded only, as the conventions demand."""
        self._duration.record(timings.total, attributes)
        if ok and timings.first_token is not None:
            self._first_token.record(timings.first_token, attributes)
        if ok and timings.per_output_token is not None:
            self._per_token.record(timings.per_output_token, attributes)


def make_telemetry(model_name: str, version: str, environment: Mapping[str, str]) -> Telemetry | None:
    """The telemetry that the environment asks for, None if it asks for none. Raises TelemetryError."""
    wants_traces, wants_metrics = (is_asked_for(signal, environment) for signal in ("TRACES", "METRICS"))
    if not wants_traces and not wants_metrics:
        return None
    for name in ("", "_TRACES", "_METRICS"):
        variable = f"OTEL_EXPORTER_OTLP{name}_PROTOCOL"
        if environment.get(variable, PROTOCOL) != PROTOCOL:
            raise TelemetryError(f"{variable}={environment[variable]} is not supported; use {PROTOCOL}")
    try:
        from opentelemetry.sdk.resources import Resource
    except ImportError as error:
        message = (
            "OpenTelemetry is asked for by OTEL_… variables, but not installed: "
            "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        )
        raise TelemetryError(message) from error
    service_name = environment.get("OTEL_SERVICE_NAME", "millrace")
    resource = Resource.create({"service.name": service_name, "service.version": version})
    return Telemetry(
        model_name,
        _trace_provider(resource) if wants_traces else None,
        _meter_provider(resource) if wants_metrics else None,
        captures_content=environment.get(CAPTURE_CONTENT, "").lower() in ("true", "span_only", "span_and_event"),
    )


def _trace_provider(resource: Resource) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _meter_provider(resource: Resource) -> MeterProvider:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    return MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource, shutdown_on_exit=False)


def _add_events(span: Span, record: RequestRecord) -> None:
    """Add what happened to each sequence, with the time at which it happened."""
    for index, stream in enumerate(record.generation.streams if record.generation is not None else []):
        times = stream.times
        moments = [("queued", times.arrived), ("scheduled", times.scheduled), ("first_token", times.first_token)]
        moments += [("preempted", moment) for moment in times.preempted] + [("finished", times.finished)]
        for name, moment in moments:
            if moment is not None:
                span.add_event(name, {"millrace.sequence.index": index}, _nanoseconds(moment))


def _nanoseconds(moment: float) -> int:
    return int(wall_clock(moment) * 1e9)
