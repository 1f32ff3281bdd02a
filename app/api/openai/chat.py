"""`POST /v1/chat/completions`."""

from __future__ import annotations

import asyncio
from functools import partial

from fastapi import APIRouter, Request, Response

from app.api.errors import invalid
from app.api.gate.throttle import reserve
from app.api.generation.admission import admit
from app.api.generation.generation import Generation
from app.api.generation.responses import respond
from app.api.openai.chat_reply import ChatReply
from app.api.openai.schemas.chat import ChatCompletionRequest
from app.api.openapi import GENERATION
from app.api.service import ServiceDependency
from app.api.wire.body import JsonRoute
from app.text.chat_format import THINK, ReplyReader, is_reasoning
from app.text.tokenizer import Tokenizer

MAX_OPENING_TOKENS = 16
"""Tokens at the end of a prompt that hold all that a template begins a reply with."""

router = APIRouter(route_class=JsonRoute)


@router.post("/v1/chat/completions", responses=GENERATION)
async def create_chat_completion(body: ChatCompletionRequest, request: Request, service: ServiceDependency) -> Response:
    """Answer a conversation."""
    tokenizer, ready = service.require(body.model)
    service.limits.check(body)
    tools = [tool.for_template() for tool in body.offered_tools]
    chat_format = tokenizer.chat_format
    if tools and not chat_format.calls_tools:
        message = "This model's chat template has no tools, or calls them in a form that this server does not read yet."
        raise invalid(message, "tools", "tools_not_supported")
    messages = [message.for_template() for message in body.messages]
    token_ids = await asyncio.to_thread(
        tokenizer.encode_chat, messages, ready.max_total_tokens, tools=tools, **body.template_kwargs
    )
    prompts = reserve(admit([token_ids], body, tokenizer, ready, service.seeds, service.limits, "messages"), body)
    generation = Generation(service.engine, tokenizer, prompts, body, request.state.owner)
    begun = messages[-1]["content"] if body.continue_final_message else _opening(token_ids, tokenizer)
    is_thinking = chat_format.thinks and is_reasoning(begun)
    offered = frozenset(tool.function.name for tool in body.offered_tools)
    make_reader = partial(ReplyReader, chat_format, offered, is_thinking=is_thinking)
    reply = ChatReply(service.model_name, tokenizer, body.num_logprobs, make_reader)
    return await respond(request, generation, reply, body)


def _opening(token_ids: list[int], tokenizer: Tokenizer) -> str:
    """What the template itself has begun the reply with, as far as a reader of replies cares."""
    end = tokenizer.decode(token_ids[-MAX_OPENING_TOKENS:], skip_special_tokens=False)
    return THINK if end.rstrip().endswith(THINK) else ""
