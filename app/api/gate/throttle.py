"""Rate limits of keys: checked at the door, and settled when the request has ended."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.error_handlers import send_error
from app.api.gate.rate_limits import Limiter, RateLimited, Ticket
from app.api.record import RequestRecord, record_of

REFUSALS = (429, 503)
"""Answers to requests that the server did not take, which cost their key nothing."""


class Throttle:
    """Limits requests that ask to generate, and reports with every answer how much is left. Plain ASGI.

    A request counts from before its body is read, so that meaningless bodies are limited too.
    """

    def __init__(self, app: ASGIApp, limiter: Limiter) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not (record := record_of(scope)).asks_to_generate:
            await self._app(scope, receive, send)
            return
        ticket = record.ticket = self._limiter.ticket(record.owner.name)

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                if record.generation is None or record.generation.is_over:
                    settle(ticket, record, message["status"])
                MutableHeaders(scope=message).update(ticket.headers())
            await send(message)

        try:
            ticket.begin()
        except RateLimited as error:
            await send_error(error, scope, receive, send_with_limits)
            return
        try:
            await self._app(scope, receive, send_with_limits)
        finally:
            settle(ticket, record, record.status)
            ticket.close()


def settle(ticket: Ticket, record: RequestRecord, status: int) -> None:
    """Count what was used instead of what was reserved."""
    ticket.settle(num_tokens_used(record), counts=record.generation is not None or status not in REFUSALS)


def num_tokens_used(record: RequestRecord) -> int:
    """Tokens of the outputs, and of the prompts that were begun: each once, however many choices share it."""
    if record.generation is None:
        return 0
    choices = record.generation.choices
    begun = {id(choice.prompt): choice.prompt for choice in choices if choice.stream.times.scheduled is not None}
    num_prompt_tokens = sum(len(prompt.token_ids) for prompt in begun.values())
    num_output_tokens = sum(min(choice.stream.num_output_tokens, choice.prompt.max_tokens) for choice in choices)
    return num_prompt_tokens + num_output_tokens
