"""Grammars in llama.cpp's notation (GBNF), as grammars in Lark's.

Rules that are not recursive become terminals, regular expressions that are matched exactly. Of what is left, each run
of terminals in a sequence is one terminal. The lexer is greedy: where one terminal could end or go on, it goes on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
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
class _Terminal:
    """A part that is a regular expression by itself, in Lark's syntax."""

    text: str


@dataclass(frozen=True, slots=True)
class _Reference:
    name: str


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    part: _Node
    times: str


_Node = _Terminal | _Reference | _Sequence | _Choice | _Repeat


def gbnf_to_lark(text: str) -> str:
    """Raises ConstraintError for what is not GBNF, and for rules that are missing."""
    rules = _Parser(text).rules()
    if "root" not in rules:
        raise ConstraintError("A GBNF grammar has a rule `root`, and this one does not.", keyword="grammar")
    return _Writer(rules).write()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0

    def rules(self) -> dict[str, _Node]:
        rules: dict[str, _Node] = {}
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

    def _choice(self) -> _Node:
        parts = [self._sequence()]
        while self._is_mark("|"):
            self._take()
            parts.append(self._sequence())
        return _Choice(tuple(parts)) if len(parts) > 1 else parts[0]

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._kind() in ("literal", "chars", "name") or self._is_mark("(") or self._is_mark("."):
            part = self._part()
            while self._kind() == "times":
                part = _Repeat(part, re.sub(r"\s", "", self._take()))
            parts.append(part)
        return _Sequence(tuple(parts)) if len(parts) != 1 else parts[0]

    def _part(self) -> _Node:
        match self._kind(), self._take():
            case "literal", token:
                return _Terminal(json.dumps("".join(_characters(token[1:-1])), ensure_ascii=False))
            case "chars", token:
                return _Terminal(f"/{_class(token)}/")
            case "name", token:
                return _Reference(token)
            case _, ".":
                return _Terminal("/(?s:.)/")
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


class _Writer:
    """Writes rules in lower case, and what is a regular expression as terminals in upper case, as Lark tells them."""

    def __init__(self, rules: dict[str, _Node]) -> None:
        self._rules = rules
        self._names = {name: index for index, name in enumerate(rules)}
        self._recursive = _recursive(rules)
        self._terminals: dict[str, str] = {}

    def write(self) -> str:
        lines = []
        for name, node in self._rules.items():
            text = self._rule(node) if name in self._recursive else self._terminal(node)
            lines.append(f"{self._name(name)}: {text}")
        lines += [f"{name}: {text}" for text, name in self._terminals.items()]
        return "\n".join([f"start: {self._name('root')}", *lines, ""])

    def _name(self, name: str) -> str:
        return f"rule_{self._names[name]}" if name in self._recursive else f"TERMINAL_{self._names[name]}"

    def _is_terminal(self, node: _Node) -> bool:
        match node:
            case _Reference(name):
                return name not in self._recursive
            case _Sequence(parts) | _Choice(parts):
                return all(map(self._is_terminal, parts))
            case _Repeat(part, _):
                return self._is_terminal(part)
        return True

    def _terminal(self, node: _Node) -> str:
        return _expression(node, self._terminal, self._name)

    def _rule(self, node: _Node) -> str:
        if isinstance(node, _Sequence):
            return " ".join(self._rule(part) for part in self._merged(node.parts)) or '""'
        if self._is_terminal(node) and not isinstance(node, _Reference):
            text = self._terminal(node)
            return self._terminals.setdefault(text, f"PART_{len(self._terminals)}")
        return _expression(node, self._rule, self._name)

    def _merged(self, parts: tuple[_Node, ...]) -> Iterator[_Node]:
        """The parts, with neighbours that are terminals as one."""
        run: list[_Node] = []
        for part in parts:
            if self._is_terminal(part):
                run.append(part)
                continue
            yield from _joined(run)
            run = []
            yield part
        yield from _joined(run)


def _joined(run: list[_Node]) -> list[_Node]:
    """A sequence in a choice: so that it is not taken for one that is to be merged again."""
    return [_Choice((_Sequence(tuple(run)),))] if len(run) > 1 else run


def _expression(node: _Node, inner: Callable[[_Node], str], name: Callable[[str], str]) -> str:
    match node:
        case _Terminal(text):
            return text
        case _Reference(reference):
            return name(reference)
        case _Sequence(parts):
            return f"({' '.join(map(inner, parts))})" if parts else '""'
        case _Choice(parts):
            return f"({' | '.join(map(inner, parts))})"
        case _Repeat(part, times):
            return f"({inner(part)}){times}"


def _references(node: _Node) -> Iterator[str]:
    match node:
        case _Reference(name):
            yield name
        case _Sequence(parts) | _Choice(parts):
            for part in parts:
                yield from _references(part)
        case _Repeat(part, _):
            yield from _references(part)


def _recursive(rules: dict[str, _Node]) -> set[str]:
    """The rules that lead back to themselves, and those that lead to such."""
    uses = {name: set(_references(node)) for name, node in rules.items()}
    users: dict[str, list[str]] = {name: [] for name in rules}
    for name, used in uses.items():
        for other in used:
            if other not in rules:
                raise ConstraintError(f"The grammar has no rule `{other}`, which `{name}` uses.", keyword="grammar")
            users[other].append(name)
    pending = [name for name, used in uses.items() if not used]
    plain = set(pending)
    while pending:
        name = pending.pop()
        for user in users[name]:
            uses[user].discard(name)
            if not uses[user] and user not in plain:
                plain.add(user)
                pending.append(user)
    return set(rules) - plain
