"""Grammars in llama.cpp's notation (GBNF), read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.constraints.errors import ConstraintError

MAX_GROUP_DEPTH = 50

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
    |(?P<literal>"(?:[^"\\\n]|\\.)*")
    |(?P<chars>\[\^?(?:[^\]\\\n]|\\.)*\])
    |(?P<head>[A-Za-z0-9_-]+\s*::=)
    |(?P<name>[A-Za-z0-9_-]+)
    |(?P<times>\{\s*\d{1,6}\s*(?:,\s*(?:\d{1,6}\s*)?)?\}|[*+?])
    |(?P<mark>[|().])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)|([^\\])", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Terminal:
    """A part that is a regular expression by itself, in Lark's syntax."""

    text: str
    is_blank: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    name: str


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    part: Node
    times: str


Node = Terminal | Reference | Sequence | Choice | Repeat


Rules = dict[str, Node]


def read_gbnf(text: str) -> Rules:
    """The rules by their names. Raises ConstraintError."""
    rules = _Parser(text).rules()
    if "root" not in rules:
        raise ConstraintError("A GBNF grammar has a rule `root`, and this one does not.", keyword="grammar")
    return rules


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0

    def rules(self) -> dict[str, Node]:
        rules: dict[str, Node] = {}
        while self._kind() == "head":
            name = self._take().removesuffix("::=").strip()
            rules[name] = self._choice()
        if self._kind():
            raise self._error("a rule (`name ::= …`)")
        return rules

    def _kind(self) -> str:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1][1]

    def _is_mark(self, mark: str) -> bool:
        return self._next < len(self._tokens) and self._tokens[self._next][:2] == ("mark", mark)

    def _error(self, expected: str) -> ConstraintError:
        at = self._tokens[self._next][2] if self._next < len(self._tokens) else len(self._text)
        return _error_at(self._text, at, f"expected {expected}")

    def _choice(self) -> Node:
        parts = [self._sequence()]
        while self._is_mark("|"):
            self._take()
            parts.append(self._sequence())
        return Choice(tuple(parts)) if len(parts) > 1 else parts[0]

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._kind() in ("literal", "chars", "name") or self._is_mark("(") or self._is_mark("."):
            part = self._part()
            while self._kind() == "times":
                part = Repeat(part, re.sub(r"\s", "", self._take()))
            parts.append(part)
        return Sequence(tuple(parts)) if len(parts) != 1 else parts[0]

    def _part(self) -> Node:
        match self._kind(), self._take():
            case "literal", token:
                text = "".join(_characters(token[1:-1]))
                return Terminal(json.dumps(text, ensure_ascii=False), text.isspace())
            case "chars", token:
                return Terminal(f"/{_class(token)}/", "".join(_characters(token[1:-1])).isspace())
            case "name", token:
                return Reference(token)
            case _, ".":
                return Terminal("/(?s:.)/")
        self._depth += 1
        if self._depth > MAX_GROUP_DEPTH:
            raise ConstraintError(f"The grammar nests deeper than {MAX_GROUP_DEPTH} groups.", keyword="grammar")
        inner = self._choice()
        if not self._is_mark(")"):
            raise self._error("`)`")
        self._take()
        self._depth -= 1
        return inner


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or token.lastgroup is None:
            raise _error_at(text, position, f"unexpected {text[position : position + 20]!r}")
        if token.lastgroup != "skip":
            yield token.lastgroup, token[0], position
        position = token.end()


def _error_at(text: str, position: int, what: str) -> ConstraintError:
    line = text.count("\n", 0, position) + 1
    return ConstraintError(f"The grammar is not GBNF: line {line}: {what}.", keyword="grammar")


def _characters(text: str) -> Iterator[str]:
    """One by one, with escapes resolved. Surrogates, which are no characters, are refused."""
    for escape, plain in _ESCAPE.findall(text):
        code = int(escape[1:], 16) if escape[:1] in ("x", "u", "U") and len(escape) > 1 else None
        if code is not None and (code > 0x10FFFF or 0xD800 <= code < 0xE000):
            raise ConstraintError(f"The grammar is not GBNF: \\{escape} is not a character.", keyword="grammar")
        yield chr(code) if code is not None else plain or _ESCAPED.get(escape, escape)


def _class(token: str) -> str:
    """A set of characters, every one written by its number, so that none has another meaning."""
    inner = token[1:-1]
    negated = inner.startswith("^")
    pieces = [piece[0] for piece in _ESCAPE.finditer(inner[negated:])]
    out: list[str] = []
    for index, piece in enumerate(pieces):
        if piece == "-" and 0 < index < len(pieces) - 1:
            out.append("-")
        else:
            out.append(f"\\x{{{ord(next(_characters(piece))):x}}}")
    if not out:
        raise ConstraintError(f"The grammar is not GBNF: {token} has no characters.", keyword="grammar")
    return f"[{'^' if negated else ''}{''.join(out)}]"
