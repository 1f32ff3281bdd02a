"""`POST /v1/chat/completions`."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from app.api.admission import admit
from app.api.body import JsonRoute
from app.api.generation import Generation, Piece, ScoredToken
from app.api.logprobs import chat_logprobs
from app.api.reply import Json, Reply
from app.api.responses import respond
from app.api.schemas.chat import ChatCompletionRequest
from app.api.service import ServiceDependency
from app.text.tokenizer import Tokenizer

router = APIRouter(route_class=JsonRoute)


@router.post("/v1/chat/completions")
async def create_chat_completion(body: ChatCompletionRequest, request: Request, service: ServiceDependency) -> Response:
    """Answer a conversation."""
    tokenizer, ready = service.require(body.model)
    service.limits.check(1, body.n)
    messages = [message.for_template() for message in body.messages]
    token_ids = await asyncio.to_thread(tokenizer.encode_chat, messages, **body.template_kwargs)
    prompts = admit([(token_ids, None)], body, ready, service.seeds, "messages")
    generation = Generation(service.engine, tokenizer, prompts, body)
    reply = ChatReply(service.model_name, tokenizer, body.num_logprobs)
    return await respond(request, generation, reply, body)


class ChatReply(Reply):
    """In a stream each choice begins with its role and ends with an empty delta."""

    id_prefix = "chatcmpl"
    object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def __init__(self, model: str, tokenizer: Tokenizer, num_logprobs: int | None) -> None:
        super().__init__(model, tokenizer, num_logprobs)
        self._begun: set[int] = set()

    def chunks(self, piece: Piece) -> list[Json]:
        chunks = []
        if piece.index not in self._begun:
            self._begun.add(piece.index)
            chunks.append(_delta(piece.index, {"role": "assistant", "content": "", "refusal": None}))
        if piece.text or piece.tokens:
            chunks.append(_delta(piece.index, {"content": piece.text}, self._logprobs(piece.tokens)))
        if piece.finish_reason is not None:
            chunks.append(_delta(piece.index, {}, finish_reason=piece.finish_reason))
        return chunks

    def choice(self, piece: Piece) -> Json:
        return {
            "index": piece.index,
            "message": {"role": "assistant", "content": piece.text, "refusal": None},
            "logprobs": self._logprobs(piece.tokens),
            "finish_reason": piece.finish_reason,
        }

    def _logprobs(self, tokens: list[ScoredToken]) -> Json | None:
        if self.num_logprobs is None:
            return None
        return chat_logprobs(tokens, self.num_logprobs, self.tokenizer)


def _delta(index: int, delta: Json, logprobs: Json | None = None, finish_reason: str | None = None) -> Json:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
