"""A generation as an HTTP response, streamed or whole; either way it is closed when the client leaves."""

from __future__ import annotations

from fastapi import Request, Response

from app.api.errors import CLIENT_LEFT
from app.api.generation.choices import Piece
from app.api.generation.generation import Generation
from app.api.generation.reply import Json, Reply
from app.api.generation.sse import GenerationEvents
from app.api.openai.logprobs import prompt_logprobs
from app.api.openai.schemas.sampling import SamplingFields
from app.api.record import current_record
from app.api.wire.disconnect import unless_client_leaves
from app.api.wire.json_parts import JsonInParts
from app.messages import FinishReason


async def respond(request: Request, generation: Generation, reply: Reply, body: SamplingFields) -> Response:
    """Send `generation` the way `body` asks for."""
    record, limits = current_record(), request.app.state.service.limits
    record.begin(generation, reply, body)
    generation.end_by(record.arrived + limits.request_seconds)
    if body.stream:
        return GenerationEvents(generation, reply, body.tells_usage)
    try:
        whole = await unless_client_leaves(request.receive, _whole(generation, reply, body.prompt_logprobs))
        if whole is None:
            generation.close(FinishReason.CLIENT_GONE)
            return Response(status_code=CLIENT_LEFT)
    finally:
        generation.close()
    return JsonInParts(whole)


async def _whole(generation: Generation, reply: Reply, num_prompt_logprobs: int | None) -> Json:
    """The same pieces that a stream would send, put together."""
    texts: list[list[str]] = [[] for _ in generation.choices]
    wholes = [Piece(choice.index, "") for choice in generation.choices]
    while not generation.is_finished:
        await generation.news.wait()
        for piece in generation.pieces():
            texts[piece.index].append(piece.text)
            wholes[piece.index].tokens += piece.tokens
            wholes[piece.index].finish_reason = piece.finish_reason
    written = []
    for whole, parts, choice in zip(wholes, texts, generation.choices, strict=True):
        whole.text = "".join(parts)
        written.append(reply.choice(whole))
        if num_prompt_logprobs is not None:
            written[-1]["prompt_logprobs"] = prompt_logprobs(
                choice.stream.prompt_logprobs, num_prompt_logprobs, reply.tokenizer
            )
    return {**reply.envelope(reply.object), "choices": written, "usage": generation.usage().as_json()}
