"""What a prompt has written of the reply to a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from app.api.generation.request import Conversation
from app.text.replies.opening import begun_reply
from app.text.tokenizer import Tokenizer

MAX_OPENING_TOKENS = 16
"""How many tokens at the end of a prompt are enough to hold whatever a template begins a reply with."""


def opening(conversation: Conversation, tokenizer: Tokenizer, token_ids: Sequence[int]) -> str:
    """As far as a reader of replies needs to know."""
    if conversation.is_continued:
        return str(conversation.messages[-1]["content"])
    return begun_reply(tokenizer.reply_format, _end(tokenizer, token_ids))


def is_behind_reasoning(tokenizer: Tokenizer, token_ids: Sequence[int]) -> bool:
    """Whether the prompt has ended the reasoning, which templates do for a model that is not to think."""
    reasoning = tokenizer.reply_format.reasoning
    return reasoning is not None and _end(tokenizer, token_ids).rstrip().endswith(reasoning.end)


def _end(tokenizer: Tokenizer, token_ids: Sequence[int]) -> str:
    return tokenizer.decode(token_ids[-MAX_OPENING_TOKENS:], skip_special_tokens=False)
