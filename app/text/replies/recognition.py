"""Recognises a model's ReplyFormat from what its chat template writes, whatever the model is called."""

from __future__ import annotations

from app.text.replies.format import ReplyFormat
from app.text.replies.probe import CONTENT, FIRST, USER, Probe, Render
from app.text.replies.recognize_calls import recognize_calls
from app.text.replies.recognize_reasoning import channel_reasoning, recognize_channels, recognize_reasoning
from app.text.replies.response_template import is_readable


def recognize(render: Render, template: str, response_template: object = None) -> ReplyFormat:
    """The format that belongs to a chat template, whose source is `template` and which `render` applies.

    A `response_template` that comes with the checkpoint is trusted, if this version of transformers can read it.
    """
    probe = Probe(render)
    shows_tools = FIRST in probe(USER, tools=True, add_generation_prompt=True)
    if is_readable(response_template):
        return ReplyFormat(shows_tools=shows_tools, response_template=response_template)  # type: ignore[arg-type]
    channels = recognize_channels(probe)
    reasoning = channel_reasoning(channels) if channels else recognize_reasoning(probe, template)
    _, _, turn_end = probe(USER, {"role": "assistant", "content": CONTENT}).partition(CONTENT)
    calls = recognize_calls(probe, reasoning.end if reasoning else "", turn_end)
    if calls and channels is None and not calls.is_readable:
        calls = None
    return ReplyFormat(reasoning, calls, channels, shows_tools)
