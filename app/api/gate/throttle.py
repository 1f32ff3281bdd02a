"""What a key may use, asked at the door and settled when the request has ended."""

from __future__ import annotations

from dataclasses import replace

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.gate.rate_limits import Limiter, RateLimited, Visit
from app.api.generation.admission import Prompt
from app.api.openai.schemas.sampling import SamplingFields
from app.api.record import RequestRecord, current_record

REFUSALS = (429, 503)
"""Answers to requests that the server did not take, which cost their key nothing."""


class Throttle:
    """Limits what asks to generate, and tells with every answer how much is left. Plain ASGI.

    A request counts from before its body is read, so that bodies without sense are limited too.
    """

    def __init__(self, app: ASGIApp, limiter: Limiter) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not (record := current_record()).asks_to_generate:
            await self._app(scope, receive, send)
            return
        visit = record.visit = self._limiter.visit(scope["state"]["owner"].name)

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                if record.generation is None or record.generation.is_over:
                    settle(visit, record, message["status"])
                MutableHeaders(scope=message).update(visit.headers())
            await send(message)

        try:
            visit.begin()
        except RateLimited as error:
            record.error = error
            await error.response()(scope, receive, telling)
            return
        try:
            await self._app(scope, receive, telling)
        finally:
            settle(visit, record, record.status)
            visit.leave()


def settle(visit: Visit, record: RequestRecord, status: int) -> None:
    """Count what was used instead of what was reserved."""
    visit.settle(num_tokens_used(record), counts=record.generation is not None or status not in REFUSALS)


def reserve(prompts: list[Prompt], body: SamplingFields) -> list[Prompt]:
    """Take a place for each sequence, and the tokens of the prompts and of all that their outputs may have.

    Where the request does not say how long an output may be, it may have what the model allows, but no more than the
    limit of a whole minute allows: that does not depend on the moment, so that the same request has the same answer.
    Raises RateLimited. Returns the prompts as they may be answered.
    """
    visit = current_record().visit
    if visit is None:
        return prompts
    num_sequences = len(prompts) * body.n
    num_prompt_tokens = sum(len(prompt.token_ids) for prompt in prompts)
    field, wanted = body.wanted_tokens
    hint = ""
    if wanted is None and visit.tokens_per_minute is not None:
        hint = f" '{field}' was not given, so that all that the answer may have is reserved; less is taken sooner."
        most = max((visit.tokens_per_minute - num_prompt_tokens) // num_sequences, body.min_tokens, 1)
        prompts = [replace(prompt, max_tokens=min(prompt.max_tokens, most)) for prompt in prompts]
    num_output_tokens = body.n * sum(prompt.max_tokens for prompt in prompts)
    visit.reserve(num_sequences, num_prompt_tokens + num_output_tokens, hint)
    return prompts


def num_tokens_used(record: RequestRecord) -> int:
    """Tokens of the outputs, and of prompts that were begun: one counts once, however many choices share it."""
    if record.generation is None:
        return 0
    choices = record.generation.choices
    begun = {id(choice.prompt): choice.prompt for choice in choices if choice.stream.times.scheduled is not None}
    num_prompt_tokens = sum(len(prompt.token_ids) for prompt in begun.values())
    num_output_tokens = sum(min(choice.stream.num_output_tokens, choice.prompt.max_tokens) for choice in choices)
    return num_prompt_tokens + num_output_tokens
