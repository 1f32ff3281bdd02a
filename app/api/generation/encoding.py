"""From a request's prompts to token ids, and back to the text that is echoed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from app.api.errors import Fault
from app.api.generation.request import Conversation, GenerationRequest
from app.text.chat_template import ChatTemplateError, NoChatTemplate
from app.text.detokenizer import IncrementalDetokenizer
from app.text.tokenizer import TextTooLong, Tokenizer


@dataclass(frozen=True, slots=True)
class Echo:
    """The text of a prompt that is to be sent back, and the offset of each token in it."""

    text: str
    offsets: Seq[int]


async def encode(request: GenerationRequest, tokenizer: Tokenizer, max_tokens: int) -> list[list[int]] | Fault:
    """The token ids of each prompt, or why there are none. A text that surely has more than `max_tokens` is not encoded
    at all.
    """
    try:
        if _has_text(request):
            return await asyncio.to_thread(_encode, request, tokenizer, max_tokens)
        return _encode(request, tokenizer, max_tokens)  # not worth a thread
    except NoChatTemplate as error:
        return Fault(str(error), request.names.prompt, "no_chat_template")
    except ChatTemplateError as error:
        return Fault(str(error), request.names.prompt, "chat_template_error")
    except TextTooLong as error:
        return Fault(str(error), None, "context_length_exceeded")


def _has_text(request: GenerationRequest) -> bool:
    return isinstance(request.prompts, Conversation) or any(isinstance(prompt, str) for prompt in request.prompts)


def _encode(request: GenerationRequest, tokenizer: Tokenizer, max_tokens: int) -> list[list[int]]:
    prompts = request.prompts
    if isinstance(prompts, Conversation):
        # Tools that the template cannot show are reported on their own; the rest can still be checked.
        tools = prompts.tools if tokenizer.reply_format.calls_tools else []
        return [tokenizer.encode_chat(prompts.messages, max_tokens, tools=tools, **prompts.variables)]
    return [
        tokenizer.encode(prompt, request.adds_special_tokens, max_tokens) if isinstance(prompt, str) else prompt
        for prompt in prompts
    ]


def echoes(encoded: Seq[list[int]], request: GenerationRequest, tokenizer: Tokenizer) -> list[Echo]:
    """What to send back for each prompt: a text as it was sent, token ids as the text they would be in an output."""
    assert not isinstance(request.prompts, Conversation), "no dialect echoes conversations"
    found = []
    for token_ids, sent in zip(encoded, request.prompts, strict=True):
        detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=request.skips_special_tokens)
        text = detokenizer.push(token_ids) + detokenizer.flush()
        found.append(Echo(sent if isinstance(sent, str) else text, detokenizer.token_offsets))
    return found
