"""Parses a JSON object incrementally, to find out how far a text is one and where it ends."""

from __future__ import annotations

import re
from typing import Literal

MAX_DEPTH = 100
"""Nesting of objects and lists. Parsers have limits of their own, and what is sent must be readable by all of them."""

MAX_SCALAR_CHARS = 1000
"""Length of a number. Python parses no integer of more than 4,300 digits."""

WHITE_SPACE = " \t\n\r"
_SPACES = re.compile(r"[ \t\n\r]+")

# A surrogate is only accepted as part of a pair: on its own it is no character (RFC 8259, section 8.2).
_HEX = "[0-9a-fA-F]"
_FIRST_HALF = f"u[dD][89abAB]{_HEX}{{2}}"
_STRING_PART = re.compile(
    r'(?:[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]'
    rf"|u(?:[0-9a-cefA-CEF]{_HEX}|[dD][0-7]){_HEX}{{2}}|{_FIRST_HALF}\\u[dD][c-fC-F]{_HEX}{{2}}))+"
)
_ESCAPE_BEGUN = re.compile(rf"\\(?:u{_HEX}{{0,3}}|{_FIRST_HALF}(?:\\(?:u(?:[dD](?:[c-fC-F]{_HEX}?)?)?)?)?)?")
_SCALAR = re.compile(r"(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)(?=[ \t\n\r,\]}])")
_NUMBER_BEGUN = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*|(?:\.[0-9]+)?[eE][+-]?[0-9]*)?)?")
_LITERALS = ("true", "false", "null")


_Expected = Literal["object", "key", "first key", ":", "value", "item", "first item", ", or }", ", or ]", "nothing"]

_SEPARATORS: dict[tuple[_Expected, str], _Expected] = {
    (":", ":"): "value",
    (", or }", ","): "key",
    (", or ]", ","): "item",
}
_ENDS: set[tuple[_Expected, str]] = {("first key", "}"), (", or }", "}"), ("first item", "]"), (", or ]", "]")}
_KEYS: set[_Expected] = {"key", "first key"}
_VALUES: set[_Expected] = {"value", "item", "first item"}


class JsonObject:
    """A JSON object (RFC 8259), possibly surrounded by white space, that is fed piece by piece.

    Escapes and scalars are consumed whole: the caller keeps one that is incomplete, and passes it again together with
    what follows.
    """

    def __init__(self) -> None:
        self.is_broken = False
        self.is_complete = False
        self.depth = 0
        """Number of open objects and lists."""
        self._open: list[_Expected] = []  # for each of them, what may follow a value in it
        self._expected: _Expected = "object"
        self._in_string = False

    def feed(self, text: str, until_depth: int = 0) -> int:
        """Consume text. Returns how many characters were consumed.

        Stops at an escape or scalar that is incomplete, at the end of the object, after a closing bracket that leaves
        `until_depth` objects and lists open, or at a character that is not allowed, which sets `is_broken`.
        """
        at = 0
        while at < len(text) and not self.is_complete:
            depth = self.depth
            taken = self._take_string(text, at) if self._in_string else self._take(text, at)
            at += taken
            if not taken or until_depth == self.depth < depth:
                break
        return at

    def _take_string(self, text: str, at: int) -> int:
        if part := _STRING_PART.match(text, at):
            return part.end() - at
        if text[at] == '"':
            self._in_string = False
            self._expected = ":" if self._expected in _KEYS else self._open[-1]
            return 1
        return 0 if _ESCAPE_BEGUN.fullmatch(text, at) else self._break()

    def _take(self, text: str, at: int) -> int:
        """Consume white space or what is expected, of a string its opening quote. Returns the number of characters."""
        expected, char = self._expected, text[at]
        if then := _SEPARATORS.get((expected, char)):
            self._expected = then
            return 1
        if spaces := _SPACES.match(text, at):
            return spaces.end() - at
        if (expected, char) in _ENDS:
            return self._close()
        if char == '"' and (expected in _VALUES or expected in _KEYS):
            self._in_string = True
            return 1
        if char == "{" and (expected in _VALUES or expected == "object"):
            return self._begin(", or }", "first key")
        if char == "[" and expected in _VALUES:
            return self._begin(", or ]", "first item")
        return self._take_scalar(text, at) if expected in _VALUES else self._break()

    def _take_scalar(self, text: str, at: int) -> int:
        if (scalar := _SCALAR.match(text, at)) and scalar.end() - at <= MAX_SCALAR_CHARS:
            self._expected = self._open[-1]
            return scalar.end() - at
        rest = text[at : at + MAX_SCALAR_CHARS + 1]
        is_begun = any(literal.startswith(rest) for literal in _LITERALS) or _NUMBER_BEGUN.fullmatch(rest)
        return 0 if is_begun and len(rest) <= MAX_SCALAR_CHARS else self._break()

    def _begin(self, follows: _Expected, expected: _Expected) -> int:
        if self.depth == MAX_DEPTH:
            return self._break()
        self._open.append(follows)
        self.depth += 1
        self._expected = expected
        return 1

    def _close(self) -> int:
        self._open.pop()
        self.depth -= 1
        self.is_complete = not self.depth
        self._expected = self._open[-1] if self._open else "nothing"
        return 1

    def _break(self) -> int:
        self.is_broken = True
        return 0


def is_object(text: str) -> bool:
    """Whether the whole text is a JSON object."""
    followed = JsonObject()
    end = followed.feed(text)
    return followed.is_complete and not text[end:].strip(WHITE_SPACE)
