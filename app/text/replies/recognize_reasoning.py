"""Finds out from what a chat template writes how reasoning is told apart from content."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.text.replies.format import ChannelFormat, ReasoningFormat
from app.text.replies.markup import is_tag, marks_of
from app.text.replies.probe import CONTENT, REASONING, USER, Probe

_ENDS_THINKING = re.compile(r"</([\w:]*think[\w:]*)>|\[/(THINK)\]")
_ENCLOSES = ("response", "answer")


def recognize_channels(probe: Probe) -> ChannelFormat | None:
    """The format of messages on channels, if the template writes such."""
    channels = ChannelFormat()
    before, found, _ = probe(USER, {"role": "assistant", "content": CONTENT}).partition(CONTENT)
    is_one = found and re.search(rf"{re.escape(channels.channel)}\s*final\s*{re.escape(channels.message)}$", before)
    return channels if is_one else None


def channel_reasoning(channels: ChannelFormat) -> ReasoningFormat:
    """Reasoning is a message of its own, and the next one is to begin as the prompt begins the first."""
    begin = f"{channels.channel}{channels.reasoning_channel}{channels.message}"
    return ReasoningFormat(begin, channels.ends[0], f"{channels.ends[0]}{channels.start}assistant")


def recognize_reasoning(probe: Probe, template: str) -> ReasoningFormat | None:
    """What the template writes around reasoning; else what it looks for to leave reasoning out."""
    for message in _messages():
        before, found, behind = probe.turn(USER, message).partition(REASONING)
        after, has_content, rest = behind.partition(CONTENT)
        if found and has_content and (marks := _between(before, after)):
            begin, end, *enclosing = marks
            content_end = (marks_of(rest) or ("",))[0] if enclosing else ""
            return ReasoningFormat(begin, end, after, "".join(enclosing), content_end if is_tag(content_end) else "")
    return _from_source(template)


def _messages() -> Iterator[Mapping[str, Any]]:
    """An answer with reasoning in all the forms that templates take it in."""
    answer = {"role": "assistant", "content": CONTENT}
    yield answer | {"reasoning_content": REASONING}
    yield answer | {"thinking": REASONING}
    yield answer | {"reasoning": REASONING}
    blocks = [{"type": "thoughts", "text": REASONING}, {"type": "response", "text": CONTENT}]
    yield answer | {"content": {"blocks": blocks}}
    for thinking in ([{"type": "text", "text": REASONING}], REASONING):
        yield answer | {"content": [{"type": "thinking", "thinking": thinking}, {"type": "text", "text": CONTENT}]}


def _between(before: str, after: str) -> tuple[str, ...]:
    """The marks that begin and end reasoning, and perhaps one that begins the content; none if they are no tags."""
    ending = marks_of(after)
    if not ending or not all(map(is_tag, ending)) or len(ending) > 2:
        return ()
    if ending[0].startswith(("</", "[/")):
        return ending[0].replace("/", "", 1), *ending
    opening = marks_of(before)
    return (opening[-1], *ending) if opening and is_tag(opening[-1]) else ()


def _from_source(template: str) -> ReasoningFormat | None:
    found = _ENDS_THINKING.search(template)
    if found is None:
        return None
    end = found[0]
    name = next((name for name in _ENCLOSES if f"<{name}>" in template and f"</{name}>" in template), "")
    enclosing = (f"<{name}>", f"</{name}>") if name else ("", "")
    return ReasoningFormat(end.replace("/", "", 1), end, f"\n{end}\n\n{enclosing[0]}", *enclosing)
