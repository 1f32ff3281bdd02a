"""`POST /v1/completions`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.generation.choices import Piece
from app.api.generation.dialect import Answer, Json
from app.api.generation.generation import Generation
from app.api.generation.responses import respond
from app.api.generation.route import GenerationRoute
from app.api.openai.answer import OpenAIAnswer
from app.api.openai.logprobs import completion_logprobs
from app.api.openai.reply import Reply
from app.api.openai.schemas.completion import CompletionRequest
from app.api.openapi import generation
from app.api.service import ServiceDependency

router = APIRouter(route_class=GenerationRoute)


@router.post("/v1/completions", responses=generation())
async def create_completion(body: CompletionRequest, request: Request, service: ServiceDependency) -> Response:
    """Continue a text, or several."""

    def make_answer(generation: Generation) -> Answer:
        reply = CompletionReply(service.model_name, generation.tokenizer, body.logprobs)
        return OpenAIAnswer(generation, reply, body)

    return await respond(request, service, body.neutral(), make_answer)


class CompletionReply(Reply):
    """Chunks and whole answers have the same shape."""

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
