"""Reads calls that are written as in Python, and makes JSON of their keyword arguments as they arrive."""

from __future__ import annotations

import ast
import re

from app.text.replies.call_reader import Outcome
from app.text.replies.markup import find, skip_spaces
from app.text.replies.named_calls import NamedCallReader
from app.text.replies.values import as_json, escaped

_ANY = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})
_BEGINS = re.compile(r"\s*(?:\)|[^\W\d]\w*\s*=(?!=))")
_MAY_BEGIN = re.compile(r"\s*(?:[^\W\d]\w*\s*=?)?")
_KEYWORD = re.compile(r"\s*(\w+)\s*=")
_MAY_BE_KEYWORD = re.compile(r"\s*\w*\s*")
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|[^xuU0-7])", re.DOTALL)
_MAX_ESCAPE_CHARS = 10
_LITERAL_PARTS = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^'"()\[\]{},]+|.""", re.DOTALL)


class PythonReader(NamedCallReader):
    """Strings are passed on as they arrive, other values when they are complete."""

    def _arguments_begin(self, at: int) -> bool | None:
        if begins := _BEGINS.match(self.held, at):
            return None if begins.end() == len(self.held) and self.held[-1] == "=" else True
        return None if _MAY_BEGIN.fullmatch(self.held, at) else False

    def _begin_arguments(self) -> None:
        self._num_arguments = 0
        self._give("{")

    def _read_arguments(self) -> bool:
        """Read the next keyword, or the closing parenthesis."""
        at = skip_spaces(self.held)
        if self.held.startswith(",", at) and self._num_arguments:
            at = skip_spaces(self.held, at + 1)
        if self.held.startswith(")", at):
            self._give("}")
            return self._end_arguments(self.held[at:])
        if keyword := _KEYWORD.match(self.held, at):
            separator = ", " if self._num_arguments else ""
            self._num_arguments += 1
            self._give(f'{separator}"{keyword[1]}": ')
            return self._go_on(self._read_value, self.held[keyword.end() :])
        return False if _MAY_BE_KEYWORD.fullmatch(self.held, at) else self._end(Outcome.BROKEN)

    def _read_value(self) -> bool:
        held = self.held.lstrip()
        if held[:1] not in ("'", '"'):
            self._num_scanned, self._depth = 0, 0
            return bool(held) and self._go_on(self._read_literal, held)
        if len(held) < 3 and held == len(held) * held[0]:
            return False  # perhaps three quotes
        self._quote = held[0] * (3 if held.startswith(3 * held[0]) else 1)
        self._give('"')
        return self._go_on(self._read_string, held[len(self._quote) :])

    def _read_string(self) -> bool:
        quote, held, at, given = self._quote, self.held, 0, []
        while at < len(held) and not held.startswith(quote, at):
            if held[at] == "\\":
                found = _ESCAPE.match(held, at)
                if found is None or (found.end() == len(held) and found[0][1] in "01234567"):
                    if found is None and len(held) - at > _MAX_ESCAPE_CHARS:
                        return self._end(Outcome.BROKEN)
                    break
                given.append(_unescaped(found[0]))
                at = found.end()
            elif held[at] == quote[0] and len(held) - at < len(quote):
                break
            else:
                end, _ = find(held[at + 1 :], ("\\", quote[0]))
                given.append(held[at : at + 1 + end])
                at += 1 + end
        text = escaped("".join(given))
        if held.startswith(quote, at):
            self._give(text + '"')
            return self._go_on(self._read_arguments, held[at + len(quote) :])
        self._give(text)
        self.held = held[at:]
        return False

    def _read_literal(self) -> bool:
        """Read a value that is no string up to the comma or parenthesis behind it."""
        while part := _LITERAL_PARTS.match(self.held, self._num_scanned):
            token = part[0]
            if not self._depth and token in (",", ")"):
                return self._end_literal(self._num_scanned)
            if token in ("'", '"'):
                return False  # a string that is incomplete
            self._depth += (token in "([{") - (token in ")]}") if len(token) == 1 else 0
            self._num_scanned = part.end()
        return False

    def _end_literal(self, end: int) -> bool:
        written = as_json(self.held[:end], _ANY - {"string"})
        if written.startswith('"'):
            return self._end(Outcome.BROKEN)
        self._give(written)
        return self._go_on(self._read_arguments, self.held[end:])

    def finish(self) -> str:
        return ""


def _unescaped(escape: str) -> str:
    """The character that an escape stands for; an unknown one stands for itself, as in Python."""
    if escape[1] in "xuU01234567abfnrtv\\'\"\n":
        try:
            return str(ast.literal_eval(f'"{escape}"')).encode("utf-8", "replace").decode()
        except (ValueError, SyntaxError):
            return "\ufffd"
    return escape
