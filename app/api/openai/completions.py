"""`POST /v1/completions`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from fastapi import APIRouter, Request, Response

from app.api.gate.throttle import reserve
from app.api.generation.admission import Echo, Prompt, admit
from app.api.generation.choices import Piece
from app.api.generation.generation import Generation
from app.api.generation.reply import Json, Reply
from app.api.generation.responses import respond
from app.api.openai.logprobs import completion_logprobs
from app.api.openai.schemas.completion import CompletionRequest
from app.api.openapi import GENERATION
from app.api.service import ServiceDependency
from app.api.wire.body import JsonRoute
from app.messages import EngineReady
from app.text.detokenizer import IncrementalDetokenizer
from app.text.tokenizer import Tokenizer

router = APIRouter(route_class=JsonRoute)


@router.post("/v1/completions", responses=GENERATION)
async def create_completion(body: CompletionRequest, request: Request, service: ServiceDependency) -> Response:
    """Continue a text, or several."""
    tokenizer, ready = service.require(body.model)
    service.limits.check(body, len(body.prompt))
    if any(isinstance(prompt, str) for prompt in body.prompt):
        encoded = await asyncio.to_thread(_encode, body, tokenizer, ready)
    else:  # there is nothing to do that would be worth a thread
        encoded = _encode(body, tokenizer, ready)
    prompts = reserve(admit(encoded, body, tokenizer, ready, service.seeds, service.limits, "prompt"), body)
    if body.echo:
        prompts = await asyncio.to_thread(_with_echo, prompts, body, tokenizer)
    generation = Generation(service.engine, tokenizer, prompts, body, request.state.owner)
    reply = CompletionReply(service.model_name, tokenizer, body.logprobs)
    return await respond(request, generation, reply, body)


class CompletionReply(Reply):
    """Chunks and whole answers of the same shape."""

    id_prefix = "cmpl"
    object = chunk_object = "text_completion"

    def chunks(self, piece: Piece) -> list[Json]:
        chunks = []
        if piece.text or piece.tokens:
            chunks.append(_choice(piece.index, piece.text, self._logprobs(piece), None))
        if piece.finish_reason is not None:
            chunks.append(_choice(piece.index, "", None, piece.finish_reason))
        return chunks

    def choice(self, piece: Piece) -> Json:
        return _choice(piece.index, piece.text, self._logprobs(piece), piece.finish_reason)

    def _logprobs(self, piece: Piece) -> Json | None:
        if self.num_logprobs is None:
            return None
        return completion_logprobs(piece.tokens, self.num_logprobs, self.tokenizer)


def _choice(index: int, text: str, logprobs: Json | None, finish_reason: str | None) -> Json:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}


def _encode(body: CompletionRequest, tokenizer: Tokenizer, ready: EngineReady) -> list[list[int]]:
    return [
        tokenizer.encode(prompt, body.add_special_tokens, ready.max_total_tokens) if isinstance(prompt, str) else prompt
        for prompt in body.prompt
    ]


def _with_echo(prompts: list[Prompt], body: CompletionRequest, tokenizer: Tokenizer) -> list[Prompt]:
    """A text comes back as it was sent; token ids come back as the text they would be in an output."""
    echoing = []
    for prompt, sent in zip(prompts, body.prompt, strict=True):
        detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=body.skip_special_tokens)
        text = detokenizer.push(prompt.token_ids) + detokenizer.flush()
        echo = Echo(sent if isinstance(sent, str) else text, detokenizer.token_offsets)
        echoing.append(replace(prompt, echo=echo))
    return echoing
