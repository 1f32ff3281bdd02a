"""Gives every request an id and a record, and in the end reports the record to the metrics, the traces and the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.error_handlers import send_error
from app.api.errors import as_api_error
from app.api.generation.dialect import Dialect, Endpoint
from app.api.record import RECORD, RequestRecord, choose_request_id, parse_traceparent
from app.api.telemetry.timings import Timings, texts_of
from app.api.telemetry.tracing import Telemetry
from app.api.wire.client import client_of
from app.logs import LogContext, log_context
from app.metrics import Metrics

REQUEST_ID_HEADER = "X-Request-Id"
UNKNOWN_ROUTE = "unknown"

log = logging.getLogger("millrace.request")


class RequestMiddleware:
    """Plain ASGI: it costs a stream nothing. It also answers unexpected exceptions.

    `on_error` is called with the cause of every error that a client was answered with. A POST to one of `endpoints`
    asks to generate: only such requests are subject to rate limits, and counted when they are refused. Errors are
    written in the dialect of the endpoint, and everywhere else in `default_dialect`.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        on_error: Callable[[str], None],
        telemetry: Telemetry | None,
        log_prompts: bool,
        endpoints: Mapping[str, Endpoint],
        default_dialect: Dialect,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._on_error = on_error
        self._telemetry = telemetry
        self._log_prompts = log_prompts
        self._endpoints = endpoints
        self._default_dialect = default_dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        record = self._begin(scope, headers, send)
        span = self._telemetry.begin(headers, record) if self._telemetry is not None else None
        log_context.set(LogContext(record.request_id, record.trace.trace_id, record.trace.span_id))

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                self._metrics.http_response(self._route_of(scope), record.status)
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = record.request_id
            await send(message)

        try:
            await self._app(scope, receive, send_recorded)
        except Exception as error:  # nobody expected it, and the client is owed an answer
            if record.status:
                raise
            log.exception("An unexpected error")
            await send_error(as_api_error(error), scope, receive, send_recorded)
        finally:
            record.route = f"{scope['method']} {self._route_of(scope)}"
            timings = Timings.of(record, time.monotonic())
            if self._telemetry is not None:
                self._telemetry.end(span, record, timings)
            self._report(record, timings)

    def _route_of(self, scope: Scope) -> str:
        """The template of the route, also where a request was refused before routing if it asks to generate."""
        path: str = scope["path"]
        found: str = getattr(scope.get("route"), "path", path if path in self._endpoints else UNKNOWN_ROUTE)
        return found

    def _begin(self, scope: Scope, headers: Headers, send: Send) -> RequestRecord:
        """Start the record of a request and put it into the scope."""
        endpoint = self._endpoints.get(scope["path"])
        asks_to_generate = endpoint is not None and scope["method"] == "POST"
        record = RequestRecord(
            request_id=choose_request_id(headers.get(REQUEST_ID_HEADER, "")),
            trace=parse_traceparent(headers.get("traceparent", "")),
            arrived=time.monotonic(),
            send=send,
            dialect=endpoint.dialect if endpoint is not None else self._default_dialect,
            client=client_of(scope),
            operation=endpoint.operation if endpoint is not None and asks_to_generate else "",
        )
        scope.setdefault("state", {})[RECORD] = record
        return record

    def _report(self, record: RequestRecord, timings: Timings) -> None:
        if record.error is not None:
            self._on_error(record.error.cause)
        if record.asks_to_generate and record.generation is None:
            self._metrics.request_rejected(record.outcome)
        if log.isEnabledFor(level := logging.INFO if record.asks_to_generate else logging.DEBUG):
            fields = log_fields(record, timings)
            if self._log_prompts:
                fields["texts"] = [{"prompt": prompt, "answer": answer} for prompt, answer in texts_of(record)]
            extra = {"fields": fields, "fields_in_message": ("route", "status", "outcome")}
            log.log(level, "%s %d %s", record.route, record.status, record.outcome, extra=extra)


def log_fields(record: RequestRecord, timings: Timings) -> dict[str, object]:
    """The fields of a request's log line: sizes in tokens, times in milliseconds. What does not apply is left out."""
    fields: dict[str, object] = {
        "route": record.route,
        "status": record.status,
        "outcome": record.outcome,
        "error": str(record.error) if record.error is not None else None,
        "duration_ms": _milliseconds(timings.total),
    }
    if record.generation is not None and record.answer is not None and record.request is not None:
        streams, usage = record.generation.streams, record.generation.usage()
        fields |= {
            "response_id": record.answer.id,
            "stream": record.request.stream,
            "sequences": len(streams),
            "prompt_tokens": usage.num_prompt_tokens,
            "cached_tokens": usage.num_cached_tokens,
            "output_tokens": usage.num_output_tokens,
            "queued_ms": _milliseconds(timings.queued),
            "first_token_ms": _milliseconds(timings.first_token),
            "per_output_token_ms": _milliseconds(timings.per_output_token),
            "preemptions": sum(len(stream.times.preempted) for stream in streams),
        }
    return {name: value for name, value in fields.items() if value is not None}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
