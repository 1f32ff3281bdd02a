"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request, Response

from app.api.generation.dialect import Answer
from app.api.generation.generation import Generation
from app.api.generation.opening import opening
from app.api.generation.responses import respond
from app.api.generation.route import GenerationRoute
from app.api.openai.answer import OpenAIAnswer
from app.api.openai.chat_reply import ChatReply
from app.api.openai.schemas.chat import ChatCompletionRequest
from app.api.openapi import generation
from app.api.service import ServiceDependency
from app.text.replies.opening import open_reader
from app.text.replies.parts import Reader

router = APIRouter(route_class=GenerationRoute)


@router.post("/v1/chat/completions", responses=generation())
async def create_chat_completion(body: ChatCompletionRequest, request: Request, service: ServiceDependency) -> Response:
    """Answer a conversation."""

    def make_answer(generation: Generation) -> Answer:
        make_reader = _make_reader(body, generation)
        reply = ChatReply(
            service.model_name, generation.tokenizer, body.num_logprobs, make_reader, names_call=body.names_call
        )
        return OpenAIAnswer(generation, reply, body)

    return await respond(request, service, body.neutral(), make_answer)


def _make_reader(body: ChatCompletionRequest, generation: Generation) -> Callable[[], Reader]:
    """What makes a reader for each choice: readers know which tools are on offer, and what the prompt has written of
    the reply.
    """
    tokenizer, prompt = generation.tokenizer, generation.choices[0].prompt
    begun = opening(body.conversation(), tokenizer, prompt.token_ids)
    offered = {tool.function.name: tool.function.parameters or {} for tool in body.callable_tools}
    return partial(open_reader, tokenizer.reply_format, offered, begun=begun)
