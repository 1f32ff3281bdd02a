"""From a neutral request to an HTTP response, streamed or whole. Either is closed when the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi import Request, Response

from app.api.errors import CLIENT_LEFT
from app.api.generation.admission import Admission, Prompt, reserve
from app.api.generation.choices import Piece
from app.api.generation.dialect import Answer, Json
from app.api.generation.encoding import echoes
from app.api.generation.generation import Generation
from app.api.generation.request import GenerationRequest
from app.api.generation.sse import GenerationEvents
from app.api.record import record_of
from app.api.wire.disconnect import unless_client_disconnects
from app.api.wire.json_parts import JsonInParts
from app.engine.stream import CutReason
from app.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from app.api.service import Service


async def respond(
    http: Request, service: Service, request: GenerationRequest, make_answer: Callable[[Generation], Answer]
) -> Response:
    """Generate what is asked for, and send it as the answer that `make_answer` gives. Raises what refuses the request:
    ApiError, Unavailable or Overloaded.
    """
    record = record_of(http.scope)
    tokenizer, ready = service.require(request.model)
    admission = Admission(tokenizer, ready, service.limits, service.seeds, service.constraints, record.owner.name)
    prompts = await admission.admit(request)
    if record.ticket is not None:
        prompts = reserve(prompts, request, record.ticket)
    if request.echo:
        prompts = await asyncio.to_thread(_with_echoes, prompts, request, tokenizer)
    generation = Generation(service.engine, tokenizer, prompts, request, record.owner)
    try:
        answer = make_answer(generation)
        record.begin(request, generation, answer)
        generation.end_by(record.arrived + service.limits.request_seconds)
    except BaseException:  # whatever it was, nobody will read the sequences
        generation.close()
        raise
    if request.stream:
        return GenerationEvents(generation, answer, record)
    return await _send_whole(http, generation, answer)


def _with_echoes(prompts: list[Prompt], request: GenerationRequest, tokenizer: Tokenizer) -> list[Prompt]:
    echoed = echoes([prompt.token_ids for prompt in prompts], request, tokenizer)
    return [replace(prompt, echo=echo) for prompt, echo in zip(prompts, echoed, strict=True)]


async def _send_whole(http: Request, generation: Generation, answer: Answer) -> Response:
    try:
        whole = await unless_client_disconnects(http.receive, _whole(generation, answer))
        if whole is None:
            generation.close(CutReason.CLIENT_GONE)
            return Response(status_code=CLIENT_LEFT)
    finally:
        generation.close()
    return JsonInParts(whole)


async def _whole(generation: Generation, answer: Answer) -> Json:
    """Collect the pieces that a stream would send."""
    texts: list[list[str]] = [[] for _ in generation.choices]
    wholes = [Piece(choice.index, "") for choice in generation.choices]
    while not generation.is_finished:
        await generation.news.wait()
        for piece in generation.pieces():
            texts[piece.index].append(piece.text)
            wholes[piece.index].tokens += piece.tokens
            wholes[piece.index].finish_reason = piece.finish_reason
    for whole, parts in zip(wholes, texts, strict=True):
        whole.text = "".join(parts)
    return answer.whole(wholes, generation.usage())
