"""Every request has an id and a record, and in the end its record is told: to the metrics and to the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import as_api_error
from app.api.record import RequestRecord, Timings, choose_request_id, parse_traceparent, recording, texts_of
from app.api.telemetry.tracing import Telemetry
from app.logs import LogContext, log_context
from app.metrics import Metrics

REQUEST_ID_HEADER = "X-Request-Id"
UNKNOWN_ROUTE = "unknown"

log = logging.getLogger("millrace.request")


class Recording:
    """Plain ASGI: it costs a stream nothing. Also answers the exceptions that nobody expected.

    `failed` is told the cause of every error that a client was answered with. A request asks to generate if it is a
    POST to one of `generating_paths`; only such requests are counted when they are refused, and by limits.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        failed: Callable[[str], None],
        telemetry: Telemetry | None,
        log_prompts: bool,
        generating_paths: Container[str],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._failed = failed
        self._telemetry = telemetry
        self._log_prompts = log_prompts
        self._generating_paths = generating_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        record = begin_record(headers, send)
        record.asks_to_generate = scope["method"] == "POST" and scope["path"] in self._generating_paths
        span = self._telemetry.begin(scope["path"], headers, record) if self._telemetry is not None else None
        log_context.set(LogContext(record.request_id, record.trace.trace_id, record.trace.span_id))

        async def recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                self._metrics.http_response(_route_of(scope), record.status)
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = record.request_id
            await send(message)

        try:
            await self._app(scope, receive, recorded)
        except Exception as error:  # nobody expected it, and the client is owed an answer
            if record.status:
                raise
            log.exception("An unexpected error")
            record.error = as_api_error(error)
            await record.error.response()(scope, receive, recorded)
        finally:
            record.route = f"{scope['method']} {_route_of(scope)}"
            timings = Timings.of(record, time.monotonic())
            if self._telemetry is not None:
                self._telemetry.end(scope["path"], span, record, timings)
            self._tell(record, timings)

    def _tell(self, record: RequestRecord, timings: Timings) -> None:
        if record.error is not None:
            self._failed(record.error.cause)
        if record.asks_to_generate and record.generation is None:
            self._metrics.request_rejected(record.outcome)
        if log.isEnabledFor(level := logging.INFO if record.asks_to_generate else logging.DEBUG):
            told = told_of(record, timings)
            if self._log_prompts:
                told["texts"] = [{"prompt": prompt, "answer": answer} for prompt, answer in texts_of(record)]
            log.log(level, "%s %d %s", record.route, record.status, record.outcome, extra={"fields": told})


def begin_record(headers: Headers, send: Send) -> RequestRecord:
    """The record of a request that comes with these headers."""
    trace = parse_traceparent(headers.get("traceparent", ""))
    record = RequestRecord(choose_request_id(headers.get(REQUEST_ID_HEADER, "")), trace, time.monotonic(), send)
    recording(record)
    return record


def told_of(record: RequestRecord, timings: Timings) -> dict[str, object]:
    """The fields of a request's line: sizes in tokens, times in milliseconds; what does not apply is left out."""
    told: dict[str, object] = {
        "route": record.route,
        "status": record.status,
        "outcome": record.outcome,
        "error": str(record.error) if record.error is not None else None,
        "duration_ms": _milliseconds(timings.total),
    }
    if record.generation is not None and record.reply is not None and record.body is not None:
        streams, usage = record.generation.streams, record.generation.usage()
        told |= {
            "response_id": record.reply.id,
            "stream": record.body.stream,
            "sequences": len(streams),
            "prompt_tokens": usage.num_prompt_tokens,
            "cached_tokens": usage.num_cached_tokens,
            "output_tokens": usage.num_output_tokens,
            "queued_ms": _milliseconds(timings.queued),
            "first_token_ms": _milliseconds(timings.first_token),
            "per_output_token_ms": _milliseconds(timings.per_output_token),
            "preemptions": sum(len(stream.times.preempted) for stream in streams),
        }
    return {name: value for name, value in told.items() if value is not None}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _route_of(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
