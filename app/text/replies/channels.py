"""Reads replies that are rows of messages on channels (harmony, the format of gpt-oss)."""

from __future__ import annotations

import re
from collections.abc import Callable

from app.text.json_object import JsonObject
from app.text.replies.format import ReplyFormat
from app.text.replies.markup import find
from app.text.replies.parts import CallArguments, CallBegins, Content, Part, Reasoning, Tools

MAX_HEADER_CHARS = 300


class ChannelReader:
    """A Reader (see there). Messages on the reasoning channel are reasoning, messages to a function are calls, whatever
    their channel, and all others are content.
    """

    def __init__(self, reply_format: ReplyFormat, tools: Tools | None = None, *, begun: str = "") -> None:
        """`begun` is what the prompt has written of the message that the reply continues."""
        assert reply_format.channels is not None
        self.has_broken_call = False
        self._channels = channels = reply_format.channels
        self._tools = tools if tools and reply_format.calls_tools else {}
        self._channel = re.compile(re.escape(channels.channel) + r"\s*(\w+)")
        self._recipient = re.compile(re.escape(channels.recipient) + r"([\w.-]+)")
        self._held = ""
        self._strips = True
        self._parts: list[Part] = []
        self._kind: type[Content | Reasoning] = Content
        self._arguments = JsonObject()
        self._state: Callable[[], bool] = self._read_header
        header, is_header, _ = begun.rpartition(channels.message)
        if is_header:
            self._begin_body(header, "")
        elif begun and not self._may_be_header(begun):
            self._go_on_with(Content, "")
        else:
            self._held = begun

    def feed(self, text: str) -> list[Part]:
        self._held += text
        while self._state():
            pass
        parts, self._parts = self._parts, []
        return parts

    def finish(self, *, was_cut: bool = False) -> list[Part]:
        held, self._held = self._held, ""
        match self._state:
            case self._read_header if not was_cut and held.strip() not in ("", self._channels.start):
                self._give(Content(held))
            case self._read_body if not held.isspace():
                self._give(self._kind(held))
            case self._read_arguments:
                self._parts += [CallArguments(held)] if held else []
                self.has_broken_call = True
        parts, self._parts = self._parts, []
        return parts

    # The states. Each consumes what it can from `_held`, and returns whether another state continues with the rest.

    def _read_header(self) -> bool:
        """Read up to the body of the next message; what is no header is content."""
        channels = self._channels
        if not self._may_be_header(self._held):
            return self._go_on_with(Content, self._held)
        at, found = find(self._held, (channels.message, *channels.ends))
        if found == channels.message:
            return self._begin_body(self._held[:at], self._held[at + len(found) :])
        if found or at > MAX_HEADER_CHARS:
            self._give(Content(self._held[:at]))
            return self._go_on_with(Content, self._held[at:])
        return False

    def _may_be_header(self, text: str) -> bool:
        channels, begun = self._channels, text.lstrip()
        firsts = (channels.start, channels.channel, channels.message, "to=")
        return begun.startswith(firsts) or any(first.startswith(begun) for first in firsts)

    def _begin_body(self, header: str, body: str) -> bool:
        channel, recipient = self._channel.search(header), self._recipient.search(header)
        if recipient and recipient[1] in self._tools:
            self._parts.append(CallBegins(recipient[1]))
            self._arguments = JsonObject()
            self._state, self._held = self._read_arguments, body
            return True
        if recipient or " to=" in f" {header}":
            self._strips = False
            self._give(Content(header + self._channels.message))
            return self._go_on_with(Content, body)
        is_reasoning = channel is not None and channel[1] == self._channels.reasoning_channel
        return self._go_on_with(Reasoning if is_reasoning else Content, body, strips=True)

    def _read_body(self) -> bool:
        """Pass the text of a message on up to its end, without the white space around it."""
        channels = self._channels
        if self._strips:
            self._held = self._held.lstrip()
        at, found = find(self._held, (*channels.ends, channels.start))
        text = self._held[:at].rstrip()
        self._give(self._kind(text))
        self._strips = self._strips and not text
        if not found:
            self._held = self._held[len(text) :]
            return False
        self._state, self._held = self._read_header, self._held[at + (0 if found == channels.start else len(found)) :]
        return True

    def _read_arguments(self) -> bool:
        end = self._arguments.feed(self._held)
        self._parts += [CallArguments(self._held[:end])] if end else []
        self._held = self._held[end:]
        if self._arguments.is_broken:
            self.has_broken_call = True
            return self._go_on_with(Content, self._held)
        if self._arguments.is_complete:
            self._state = self._read_end
            return True
        return False

    def _read_end(self) -> bool:
        """Skip the mark behind a call."""
        at, found = find(self._held, self._channels.ends)
        if not found and not self._held[:at].strip():
            return False
        is_end = found and not self._held[:at].strip()
        self._state, self._held = self._read_header, self._held[at + len(found) :] if is_end else self._held
        return True

    def _go_on_with(self, kind: type[Content | Reasoning], rest: str, *, strips: bool = False) -> bool:
        self._kind, self._strips = kind, strips
        self._state, self._held = self._read_body, rest
        return True

    def _give(self, part: Content | Reasoning) -> None:
        if part.text:
            self._parts.append(part)
