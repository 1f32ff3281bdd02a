"""OpenAI's chunks as server-sent events. The JSON around a text is encoded once, not for each event."""

from __future__ import annotations

from collections.abc import Callable

from app.api.generation.choices import Piece
from app.api.generation.usage import Usage
from app.api.openai.reply import Reply, usage_object
from app.api.wire.json_parts import encode

ANY_TEXT = "\0"


class EventWriter:
    """Writes pieces as events. The events of a choice differ in little more than their text, so one of them, cut in two
    at its text, serves as the form of the others. That is not possible where `usage` is given: each event then reports
    the usage so far.
    """

    def __init__(self, reply: Reply, include_usage: bool, usage: Callable[[], Usage] | None = None) -> None:
        self._reply = reply
        self._usage = usage
        self._head = f"data: {encode(reply.envelope(reply.chunk_object))[:-1]},"
        self._end = '],"usage":null}\n\n' if include_usage else "]}\n\n"
        self._forms: dict[int, tuple[str, str]] = {}

    def write(self, piece: Piece) -> str:
        """The events that show a piece from `Reply.read`; empty if there is nothing to show yet."""
        form = self._forms.get(piece.index)
        is_plain = piece.part is None and not piece.tokens and piece.finish_reason is None
        if form is not None and is_plain and piece.text:
            before, after = form
            return before + encode(piece.text) + after
        events = self._write_chunks(piece)
        if form is None and self._usage is None:
            # Only now: the first piece of a choice may start with a chunk of its own.
            before, _, after = self._write_chunks(Piece(piece.index, ANY_TEXT)).rpartition(encode(ANY_TEXT))
            self._forms[piece.index] = before, after
        return events

    def write_usage(self, usage: Usage) -> str:
        """The event that only reports the usage."""
        return f'{self._head}"choices":[{_end_with(usage)}'

    def _write_chunks(self, piece: Piece) -> str:
        end = self._end if self._usage is None else _end_with(self._usage())
        return "".join(f'{self._head}"choices":[{encode(chunk)}{end}' for chunk in self._reply.chunks(piece))


def _end_with(usage: Usage) -> str:
    """The end of an event that reports `usage`."""
    return f'],"usage":{encode(usage_object(usage))}}}\n\n'
