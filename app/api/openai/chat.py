"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request, Response

from app.api.generation.dialect import Answer
from app.api.generation.generation import Generation
from app.api.generation.responses import respond
from app.api.generation.route import GenerationRoute
from app.api.openai.answer import OpenAIAnswer
from app.api.openai.chat_reply import ChatReply
from app.api.openai.schemas.chat import ChatCompletionRequest
from app.api.openapi import generation
from app.api.service import ServiceDependency
from app.text.chat_format import THINK, ReplyReader, is_reasoning
from app.text.tokenizer import Tokenizer

MAX_OPENING_TOKENS = 16
"""How many tokens at the end of a prompt are enough to hold whatever a template begins a reply with."""

router = APIRouter(route_class=GenerationRoute)


@router.post("/v1/chat/completions", responses=generation())
async def create_chat_completion(body: ChatCompletionRequest, request: Request, service: ServiceDependency) -> Response:
    """Answer a conversation."""

    def make_answer(generation: Generation) -> Answer:
        make_reader = _make_reader(body, generation)
        reply = ChatReply(service.model_name, generation.tokenizer, body.num_logprobs, make_reader)
        return OpenAIAnswer(generation, reply, body)

    return await respond(request, service, body.neutral(), make_answer)


def _make_reader(body: ChatCompletionRequest, generation: Generation) -> Callable[[], ReplyReader]:
    """What makes a reader for each choice: readers know which tools are on offer, and whether a reply begins within
    reasoning.
    """
    tokenizer, prompt = generation.tokenizer, generation.choices[0].prompt
    begun = body.messages[-1].written if body.continue_final_message else _opening(prompt.token_ids, tokenizer)
    is_thinking = tokenizer.chat_format.thinks and is_reasoning(begun)
    offered = frozenset(tool.function.name for tool in body.offered_tools)
    return partial(ReplyReader, tokenizer.chat_format, offered, is_thinking=is_thinking)


def _opening(token_ids: list[int], tokenizer: Tokenizer) -> str:
    """What the template itself has begun the reply with, as far as a reader of replies needs to know."""
    end = tokenizer.decode(token_ids[-MAX_OPENING_TOKENS:], skip_special_tokens=False)
    return THINK if end.rstrip().endswith(THINK) else ""
