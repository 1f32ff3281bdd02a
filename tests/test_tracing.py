"""Spans and GenAI metrics as a collector receives them: real exporters, and a small server that reads protobuf."""

from __future__ import annotations

import builtins
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app.api.telemetry.tracing import CAPTURE_CONTENT, Telemetry, TelemetryError, make_telemetry
from app.engine.health import Unavailable
from app.messages import FinishReason
from app.metrics import Metrics
from tests.scripted_engine import MODEL, ScriptedEngine, ids, make_app, started

COMPLETIONS = "/v1/completions"
TRACE_ID, SPAN_ID = "ab" * 16, "cd" * 8
SAMPLED = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}
NOT_SAMPLED = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Collector:
    """Receives OTLP over HTTP, as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metrics: dict[str, list[Any]] = {}
        self.services: set[str] = set()
        collector = self

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.receive(self.path, self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Receiver)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def receive(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for traced in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.services.add(attributes(traced.resource.attributes)["service.name"])
                self.spans += [span for scope in traced.scope_spans for span in scope.spans]
        else:
            for measured in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in measured.scope_metrics:
                    self.metrics |= {metric.name: list(metric.histogram.data_points) for metric in scope.metrics}


def plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [plain(item) for item in found.values] if kind == "array_value" else found


def attributes(pairs: list[KeyValue]) -> dict[str, Any]:
    return {pair.key: plain(pair.value) for pair in pairs}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    received = Collector()
    thread = threading.Thread(target=received.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
    yield received
    received.server.shutdown()
    thread.join()
    received.server.server_close()


def telemetry(**more: str) -> Telemetry:
    made = make_telemetry(MODEL, "1.2.3", {"OTEL_EXPORTER_OTLP_ENDPOINT": "set", **more})
    assert made is not None
    return made


async def test_a_request_is_a_span_in_the_clients_trace(collector: Collector) -> None:
    engine = ScriptedEngine(ids("hello"))
    async with started(make_app(engine, telemetry=telemetry())) as client:
        body = {"prompt": "secret", "max_tokens": 4, "stream": True, "temperature": 0.5, "seed": 7, "stop": ["zz"]}
        answer = await client.post(COMPLETIONS, json=body, headers=SAMPLED | {"x-request-id": "r1"})
    [span] = collector.spans
    assert collector.services == {"millrace"}
    assert (span.name, span.kind) == (f"text_completion {MODEL}", Span.SPAN_KIND_SERVER)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    told = attributes(span.attributes)
    assert (
        told.items()
        >= {
            "gen_ai.operation.name": "text_completion",
            "gen_ai.provider.name": "millrace",
            "gen_ai.request.model": MODEL,
            "gen_ai.request.max_tokens": 4,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.seed": 7,
            "gen_ai.request.stream": True,
            "gen_ai.usage.input_tokens": 6,
            "gen_ai.usage.output_tokens": 4,
            "gen_ai.usage.cache_read.input_tokens": 3,
            "http.route": COMPLETIONS,
            "http.response.status_code": 200,
            "millrace.request.id": "r1",
        }.items()
    )
    assert told["gen_ai.response.finish_reasons"] == ["length"]
    assert told["gen_ai.request.stop_sequences"] == ["zz"]
    assert told["gen_ai.response.id"] in answer.text
    assert "secret" not in str(span)


async def test_events_tell_when_each_sequence_was_queued_scheduled_preempted_and_done(collector: Collector) -> None:
    engine = ScriptedEngine(ids("hello"))
    async with started(make_app(engine, telemetry=telemetry())) as client:
        generate = engine.generate

        def preempted(*arguments: Any) -> Any:
            stream = generate(*arguments)
            times = stream.times
            times.scheduled, times.finished = times.arrived + 1, times.arrived + 9
            times.preempted.append(times.arrived + 5)
            return stream

        engine.generate = preempted  # type: ignore[method-assign]
        await client.post(COMPLETIONS, json={"prompt": "a", "n": 2, "stream": True})
    [span] = collector.spans
    for index in range(2):
        events = [event for event in span.events if attributes(event.attributes)["millrace.sequence.index"] == index]
        assert [event.name for event in events] == ["queued", "scheduled", "first_token", "preempted", "finished"]
        times = {event.name: event.time_unix_nano for event in events}
        assert (times["preempted"] - times["queued"]) / 1e9 == pytest.approx(5, abs=0.01)
    assert attributes(span.attributes)["gen_ai.request.choice.count"] == 2
    assert attributes(span.attributes)["millrace.preemptions"] == 2


async def test_an_exemplar_leads_to_the_span(collector: Collector) -> None:
    metrics = Metrics()
    engine = ScriptedEngine()
    async with started(make_app(engine, metrics=metrics, telemetry=telemetry())) as client:
        generate = engine.generate

        def observed(*arguments: Any) -> Any:
            stream = generate(*arguments)
            engine.submissions[-1].stream.push(97, None, stream.times.arrived + 0.5)
            engine.end(FinishReason.STOP)
            return stream

        engine.generate = observed  # type: ignore[method-assign]
        await client.post(COMPLETIONS, json={"prompt": "a"})
        metrics.first_token(engine.submissions[0].stream)
        page = (await client.get("/metrics", headers={"accept": OPENMETRICS})).text
    [span] = collector.spans
    assert f'trace_id="{span.trace_id.hex()}"' in page


async def test_what_the_client_does_not_sample_is_not_sent(collector: Collector) -> None:
    engine = ScriptedEngine(ids("k"))
    async with started(make_app(engine, telemetry=telemetry())) as client:
        await client.post(COMPLETIONS, json={"prompt": "a"}, headers=NOT_SAMPLED)
    assert engine.submissions[0].stream.trace_id == ""
    assert collector.spans == []


async def test_probes_have_no_spans(collector: Collector) -> None:
    async with started(make_app(ScriptedEngine(), telemetry=telemetry())) as client:
        await client.get("/health")
        await client.get("/metrics")
    assert collector.spans == []


async def test_an_error_is_told_by_its_code_and_one_of_ours_is_the_spans_status(collector: Collector) -> None:
    engine = ScriptedEngine(refusals={0: Unavailable("restarting", 2)})
    async with started(make_app(engine, telemetry=telemetry())) as client:
        await client.post(COMPLETIONS, json={"prompt": "a"})
        await client.post(COMPLETIONS, json={"prompt": "a", "temperature": 9})
    ours, theirs = collector.spans
    assert attributes(ours.attributes)["error.type"] == "unavailable"
    assert attributes(theirs.attributes)["error.type"] == "invalid_value"
    assert (ours.status.code, theirs.status.code) == (2, 0)


async def test_texts_are_sent_only_when_asked_for(collector: Collector) -> None:
    asked = telemetry(**{CAPTURE_CONTENT: "true"})
    async with started(make_app(ScriptedEngine(ids("wörld")), telemetry=asked)) as client:
        await client.post(COMPLETIONS, json={"prompt": "hé"})
    [span] = collector.spans
    told = attributes(span.attributes)
    [question], [answer] = (json.loads(told[f"gen_ai.{way}.messages"]) for way in ("input", "output"))
    assert question == {"role": "user", "parts": [{"type": "text", "content": "hé"}]}
    assert (answer["parts"], answer["finish_reason"]) == ([{"type": "text", "content": "wörld"}], "stop")


async def test_durations_have_the_names_of_the_conventions(collector: Collector) -> None:
    async with started(make_app(ScriptedEngine(ids("hello")), telemetry=telemetry())) as client:
        await client.post(COMPLETIONS, json={"prompt": "a"})
        await client.post(COMPLETIONS, json={"prompt": "a", "temperature": 9})
    names = ("request.duration", "time_to_first_token", "time_per_output_token")
    assert set(collector.metrics) == {f"gen_ai.server.{name}" for name in names}
    [point] = collector.metrics["gen_ai.server.time_to_first_token"]
    assert point.count == 1
    assert attributes(point.attributes)["gen_ai.operation.name"] == "text_completion"
    durations = collector.metrics["gen_ai.server.request.duration"]
    assert {attributes(point.attributes).get("error.type") for point in durations} == {None, "invalid_value"}


# What is asked for


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
    ],
)
def test_nothing_is_set_up_that_is_not_asked_for(environment: dict[str, str]) -> None:
    assert make_telemetry(MODEL, "1", environment) is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin is not supported; use otlp or none"),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "use http/protobuf"),
    ],
)
def test_what_cannot_be_had_is_an_error_that_says_what_can(environment: dict[str, str], said: str) -> None:
    with pytest.raises(TelemetryError, match=said):
        make_telemetry(MODEL, "1", environment)


def test_asked_for_without_the_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TelemetryError, match="pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"):
        make_telemetry(MODEL, "1", {"OTEL_TRACES_EXPORTER": "otlp"})
