"""Calls of tools as grammars, in the form in which a model writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from app.constraints.arguments import object_schema, write_arguments
from app.constraints.errors import ConstraintError
from app.constraints.lark_writer import LarkWriter
from app.text.replies.format import CallFormat
from app.text.replies.markup import ID, NUMBER


@dataclass(frozen=True, slots=True)
class CallableTool:
    """A tool that may be called. `parameters` is the JSON of a schema, empty if there is none.

    What a `strict` tool asks of its arguments is enforced whole, of another one as far as it can be.
    """

    name: str
    parameters: str = ""
    strict: bool = False


class CallWriter:
    """Writes expressions of calls. `ends` are the special tokens that end an answer, and so are never part of it.

    Raises ConstraintError where the arguments of a strict tool cannot be enforced in this format.
    """

    def __init__(
        self, writer: LarkWriter, calls: CallFormat, tools: Sequence[CallableTool], ends: Sequence[str]
    ) -> None:
        self._writer = writer
        self._format = calls
        self._section_end, self._call_end = calls.section_end, calls.call_end
        for end in ends:
            if self._section_end:
                self._section_end = self._section_end.removesuffix(end)
            else:
                self._call_end = self._call_end.removesuffix(end)
        # Where the answer ends with a call, there is no other behind it.
        self._can_repeat = calls.separator is not None and self._call_end == calls.call_end
        self._called = writer.rule(" | ".join(map(self._tool, tools)))

    def calls(self, *, are_parallel: bool) -> str:
        """One call, or several."""
        return self._behind(self._format.section_begin + self._format.call_begin, are_parallel=are_parallel)

    def behind(self, opening: str, *, are_parallel: bool) -> str:
        """What of them follows when one of the format's openings has been written."""
        begin = self._format.begin
        return self._behind(begin[begin.index(opening) + len(opening) :], are_parallel=are_parallel)

    def _behind(self, begin: str, *, are_parallel: bool) -> str:
        more = ""
        if are_parallel and self._can_repeat:
            assert self._format.separator is not None
            again = f"{self._text(self._format.separator + self._format.call_begin)} {self._called}"
            more = f"({again})*"
        return self._writer.rule(f"{self._text(begin)} {self._called} {more} {self._text(self._section_end)}")

    def _tool(self, tool: CallableTool) -> str:
        """What follows the beginning of a call: the name, the arguments and its end."""
        parameters = object_schema(json.loads(tool.parameters) if tool.parameters else None)
        try:
            arguments = write_arguments(self._writer, self._format.arguments, parameters, strict=tool.strict)
        except ConstraintError as error:
            message = f"The tool {tool.name!r}: {error}"
            raise ConstraintError(message, keyword=error.keyword, pointer=error.pointer) from error
        return f"{self._text(tool.name + self._format.after_name)} {arguments} {self._text(self._call_end)}"

    def _text(self, text: str) -> str:
        """A text of markup, in which an id or a number may have to stand."""
        parts, rest = [], text
        while marks := [mark for mark in (ID, NUMBER) if mark in rest]:
            mark = min(marks, key=rest.index)
            before, _, rest = rest.partition(mark)
            parts += [self._writer.text(before), _ID if mark == ID else _NUMBER]
        return " ".join([*parts, self._writer.text(rest)])


_ID = "/[a-zA-Z0-9]{9}/"
_NUMBER = "/0|[1-9][0-9]?/"
