"""Following the text of a JSON object while it arrives: how far it is one, and where it ends."""

from __future__ import annotations

import re
from enum import Enum, auto

MAX_DEPTH = 100
"""Objects and lists in one another. Parsers have bounds of their own, and what is sent must be readable to all."""

MAX_SCALAR_CHARS = 1000
"""Of a number. Python reads no integer of more than 4,300 digits."""

WHITE_SPACE = " \t\n\r"
_SPACES = re.compile(r"[ \t\n\r]+")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')

# A surrogate only as the first half of a pair, followed by the second: alone it is no character (RFC 8259, 8.2).
_ESCAPE = re.compile(
    r'\\(?:["\\/bfnrt]|u(?:[0-9a-cef][0-9a-f]{3}|d[0-7][0-9a-f]{2}|d[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}))',
    re.IGNORECASE,
)
_ESCAPE_BEGUN = re.compile(
    r"\\(?:u[0-9a-f]{0,3}|ud[89ab][0-9a-f]{2}(?:\\(?:u(?:d(?:[c-f][0-9a-f]?)?)?)?)?)?", re.IGNORECASE
)
_SCALAR = re.compile(r"(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)(?=[ \t\n\r,\]}])")
_NUMBER_BEGUN = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*|(?:\.[0-9]+)?[eE][+-]?[0-9]*)?)?")
_LITERALS = ("true", "false", "null")


class _Expected(Enum):
    OBJECT = auto()
    KEY_OR_END = auto()
    KEY = auto()
    COLON = auto()
    VALUE = auto()
    VALUE_OR_END = auto()
    COMMA_OR_END = auto()
    NOTHING = auto()


class JsonObject:
    """An object by RFC 8259, with white space around it. Escapes and numbers are taken whole: one that has only begun
    stays with the caller, who offers it again with what follows.
    """

    def __init__(self) -> None:
        self.is_broken = False
        self._open: list[str] = []
        self._expected = _Expected.OBJECT
        self._in_string = False

    @property
    def depth(self) -> int:
        """How many objects and lists are open."""
        return len(self._open)

    @property
    def is_complete(self) -> bool:
        return self._expected is _Expected.NOTHING

    def feed(self, text: str, until_depth: int = 0) -> int:
        """Returns how many characters go on with the object: all up to what has only begun, up to the end, or up to
        what cannot stand there, which makes it broken. Stops behind what closes, when so few are open as `until_depth`.
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
        if plain := _PLAIN.match(text, at):
            return plain.end() - at
        if text[at] == '"':
            self._in_string = False
            self._expected = _Expected.COLON if self._expected is _Expected.KEY else _Expected.COMMA_OR_END
            return 1
        if escape := _ESCAPE.match(text, at):
            return escape.end() - at
        return 0 if _ESCAPE_BEGUN.fullmatch(text, at) else self._break()

    def _take(self, text: str, at: int) -> int:
        """White space, or what is expected, as far as a string's opening quote."""
        if spaces := _SPACES.match(text, at):
            return spaces.end() - at
        match self._expected, text[at]:
            case _Expected.OBJECT, "{":
                return self._begin("{", _Expected.KEY_OR_END)
            case (_Expected.KEY_OR_END | _Expected.COMMA_OR_END, "}") if self._open[-1] == "{":
                return self._close()
            case (_Expected.VALUE_OR_END | _Expected.COMMA_OR_END, "]") if self._open[-1] == "[":
                return self._close()
            case _Expected.COMMA_OR_END, ",":
                self._expected = _Expected.KEY if self._open[-1] == "{" else _Expected.VALUE
            case _Expected.COLON, ":":
                self._expected = _Expected.VALUE
            case _Expected.KEY_OR_END | _Expected.KEY, '"':
                self._expected, self._in_string = _Expected.KEY, True
            case _Expected.VALUE | _Expected.VALUE_OR_END, char:
                return self._take_value(char, text, at)
            case _:
                return self._break()
        return 1

    def _take_value(self, char: str, text: str, at: int) -> int:
        if char == "{":
            return self._begin("{", _Expected.KEY_OR_END)
        if char == "[":
            return self._begin("[", _Expected.VALUE_OR_END)
        if char == '"':
            self._expected, self._in_string = _Expected.VALUE, True
            return 1
        if (scalar := _SCALAR.match(text, at)) and scalar.end() - at <= MAX_SCALAR_CHARS:
            self._expected = _Expected.COMMA_OR_END
            return scalar.end() - at
        rest = text[at : at + MAX_SCALAR_CHARS + 1]
        is_begun = any(literal.startswith(rest) for literal in _LITERALS) or _NUMBER_BEGUN.fullmatch(rest)
        return 0 if is_begun and len(rest) <= MAX_SCALAR_CHARS else self._break()

    def _begin(self, bracket: str, expected: _Expected) -> int:
        if self.depth == MAX_DEPTH:
            return self._break()
        self._open.append(bracket)
        self._expected = expected
        return 1

    def _close(self) -> int:
        self._open.pop()
        self._expected = _Expected.COMMA_OR_END if self._open else _Expected.NOTHING
        return 1

    def _break(self) -> int:
        self.is_broken = True
        return 0


def is_object(text: str) -> bool:
    """Whether the whole text is a JSON object."""
    followed = JsonObject()
    end = followed.feed(text)
    return followed.is_complete and not text[end:].strip(WHITE_SPACE)
