"""Where a reply begins: what the prompt has already written of it, and the reader that goes on from there."""

from __future__ import annotations

import re

from app.text.replies.channels import ChannelReader
from app.text.replies.format import ReplyFormat
from app.text.replies.parts import Reader, Tools
from app.text.replies.reader import ReplyReader
from app.text.replies.response_template import TemplateReader


def begun_reply(reply_format: ReplyFormat, prompt_end: str) -> str:
    """What the prompt, of which this is the end, has written of the reply, as far as a reader needs to know."""
    if reply_format.response_template is not None:
        anchors = _anchors(reply_format)
        ends = [found.end() for found in re.finditer(anchors, prompt_end)] if anchors else []
        return prompt_end[ends[-1] :] if ends else ""
    if channels := reply_format.channels:
        _, found, begun = prompt_end.rpartition(channels.start + "assistant")
        return begun if found and not any(end in begun for end in channels.ends) else ""
    reasoning = reply_format.reasoning
    return reasoning.begin if reasoning and prompt_end.rstrip().endswith(reasoning.begin) else ""


def _anchors(reply_format: ReplyFormat) -> str:
    """The pattern of where a response template says that the reply begins."""
    template = reply_format.response_template or {}
    literals = template.get("start_anchor", [])
    literals = [literals] if isinstance(literals, str) else literals
    return "|".join(map(re.escape, literals)) or template.get("start_anchor_pattern", "")


def open_reader(reply_format: ReplyFormat, tools: Tools | None = None, *, begun: str = "") -> Reader:
    """A reader of one reply. `begun` is what the prompt has written of it."""
    if reply_format.response_template is not None:
        return TemplateReader(reply_format, tools, begun=begun)
    if reply_format.channels is not None:
        return ChannelReader(reply_format, tools, begun=begun)
    reasoning = reply_format.reasoning
    is_thinking = reasoning is not None and begun.lstrip().startswith(reasoning.begin) and reasoning.end not in begun
    return ReplyReader(reply_format, tools, is_thinking=is_thinking)
