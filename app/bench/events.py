"""Parses server-sent events in OpenAI's format into an `Outcome`: as they arrive, or later when nothing is timed."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.bench.outcome import Outcome

BACKLOG_BYTES = 64 * 1024 * 1024
DONE = b"[DONE]"
SHOWN_LENGTH = 200
TEXT_FIELDS = ("content", "reasoning_content", "reasoning", "tool_calls")


class EventSplitter:
    """Splits a stream into the `data` of its events, however the bytes that arrive are divided."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that are now complete. Comments have none."""
        if self._tail:
            data = self._tail + data
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        *events, self._tail = data.split(b"\n\n")
        return [content for event in events if (content := data_of(event))]


def data_of(event: bytes) -> bytes:
    """The `data` of one event; several data lines are joined by newlines."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = (line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:"))
    return b"\n".join(lines)


@dataclass(slots=True)
class Backlog:
    """How many bytes the replies of a stage may leave unparsed, in all. Without room, each is parsed on arrival."""

    room: int = BACKLOG_BYTES


class StreamReply:
    """Receives one streamed response. `read` parses it once it has ended and nothing else is being timed.

    If the backlog is full, the oldest piece is parsed for each that arrives, so that it never takes long. `on_text` is
    called after each event with text, when it is parsed. `broken` says why the response did not reach its end.
    """

    __slots__ = ("_backlog", "_on_text", "_refusal", "_splitter", "_unread", "broken", "outcome")

    def __init__(self, outcome: Outcome, backlog: Backlog, on_text: Callable[[], None] | None = None) -> None:
        self.outcome = outcome
        self.broken: str | None = None
        self._backlog = backlog
        self._on_text = on_text
        self._splitter = EventSplitter()
        self._refusal = b""
        self._unread: deque[tuple[bytes, float]] = deque()

    @property
    def failed(self) -> bool:
        """Whether the request is known to have failed; what events say is not known before they are parsed."""
        return self.broken is not None or self.outcome.status != 200 or self.outcome.error is not None

    @property
    def num_events(self) -> int:
        """Number of events with text so far; every unparsed piece counts as one."""
        return len(self.outcome.text_times) + len(self._unread)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.outcome.status = status
        kind = headers.get("content-type", "")
        if status == 200 and not kind.startswith("text/event-stream"):
            self.outcome.fail(f"the answer is {kind or 'of no type'}, not an event stream")

    def feed(self, data: bytes, at: float) -> None:
        self._unread.append((data, at))
        self._backlog.room -= len(data)
        if self._backlog.room < 0:
            self._read_oldest()

    def read(self) -> None:
        """Parse everything that has arrived, as the complete response."""
        while self._unread:
            self._read_oldest()
        if self.broken is not None:
            self.outcome.fail(self.broken)
        elif self.outcome.status != 200:
            self.outcome.fail(f"HTTP {self.outcome.status}: {message_of(self._refusal)}")
        self.outcome.conclude()

    def _read_oldest(self) -> None:
        data, at = self._unread.popleft()
        self._backlog.room += len(data)
        if self.outcome.status != 200:
            self._refusal += data
            return
        for content in self._splitter.feed(data):
            if content == DONE:
                self.outcome.done = True
            else:
                self._read_event(content, at)

    def _read_event(self, content: bytes, at: float) -> None:
        try:
            event = json.loads(content)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            self.outcome.fail(f"an event is not a JSON object: {_shown(content)}")
            return
        if event.get("error"):
            self.outcome.fail(f"error event: {message_of(content)}")
        for choice in event.get("choices") or ():
            self._read_choice(choice, at)
        if usage := event.get("usage"):
            self._read_usage(usage)

    def _read_choice(self, choice: dict[str, Any], at: float) -> None:
        reason = choice.get("finish_reason")
        if carries_text(choice, reason is not None):
            self.outcome.text_times.append(at)
            if self._on_text is not None:
                self._on_text()
        if reason is not None:
            self.outcome.finish_reason = reason
            self.outcome.finished_at = at

    def _read_usage(self, usage: dict[str, Any]) -> None:
        self.outcome.num_prompt_tokens = usage.get("prompt_tokens")
        self.outcome.counted_tokens = usage.get("completion_tokens")
        details = usage.get("prompt_tokens_details") or {}
        self.outcome.num_cached_tokens = details.get("cached_tokens")


def carries_text(choice: dict[str, Any], finished: bool) -> bool:
    """Whether a choice represents a token. The first event of a chat, which only names the role, does not.

    In completions an empty text may represent a token (an incomplete character), but not in the last event.
    """
    if "delta" in choice:
        delta = choice["delta"] or {}
        return any(delta.get(name) for name in TEXT_FIELDS)
    text = choice.get("text")
    return bool(text) or (text == "" and not finished)


def message_of(body: bytes) -> str:
    """The message of an error response, in OpenAI's format or any other."""
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return _shown(body)


def _shown(content: bytes) -> str:
    text = " ".join(content.decode(errors="replace").split())
    return text if len(text) <= SHOWN_LENGTH else text[:SHOWN_LENGTH] + "…"
