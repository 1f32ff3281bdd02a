"""Grammars in llama.cpp's notation (GBNF), written in Lark's.

A grammar without recursion becomes one regular expression, which is matched exactly. In others each run of regular
parts is a terminal, and the lexer is greedy: where a terminal could end or go on, it goes on. Only repeated white space
is left to the parser, character by character, since grammars often let it stand twice in a row (`ws` and a new line).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from app.constraints.errors import ConstraintError
from app.constraints.gbnf import Choice, Node, Reference, Repeat, Rules, Sequence, Terminal, read_gbnf


def gbnf_to_lark(text: str) -> str:
    """Raises ConstraintError for what is not GBNF, and for rules that are missing."""
    return _Writer(read_gbnf(text)).write()


class _Writer:
    """Writes rules in lower case, and what is a regular expression as terminals in upper case, as Lark tells them."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._names = {name: index for index, name in enumerate(rules)}
        self._recursive = _leading_to_circles(rules, set())
        if "root" in self._recursive:
            self._recursive = _leading_to_circles(
                rules, {name for name, node in rules.items() if _repeats_blanks(node)}
            )
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

    def _is_terminal(self, node: Node) -> bool:
        match node:
            case Reference(name):
                return name not in self._recursive
            case Sequence(parts) | Choice(parts):
                return all(map(self._is_terminal, parts))
            case Repeat(part, _):
                return not _repeats_blanks(node) and self._is_terminal(part)
        return True

    def _terminal(self, node: Node) -> str:
        return _expression(node, self._terminal, self._name)

    def _rule(self, node: Node) -> str:
        if isinstance(node, Sequence):
            return " ".join(self._rule(part) for part in self._merged(node.parts)) or '""'
        if self._is_terminal(node) and not isinstance(node, Reference):
            text = self._terminal(node)
            return self._terminals.setdefault(text, f"PART_{len(self._terminals)}")
        return _expression(node, self._rule, self._name)

    def _merged(self, parts: tuple[Node, ...]) -> Iterator[Node]:
        """The parts, with neighbours that are terminals as one."""
        run: list[Node] = []
        for part in parts:
            if self._is_terminal(part):
                run.append(part)
                continue
            yield from _joined(run)
            run = []
            yield part
        yield from _joined(run)


def _joined(run: list[Node]) -> list[Node]:
    """A sequence in a choice: so that it is not taken for one that is to be merged again."""
    return [Choice((Sequence(tuple(run)),))] if len(run) > 1 else run


def _expression(node: Node, inner: Callable[[Node], str], name: Callable[[str], str]) -> str:
    match node:
        case Terminal(text):
            return text
        case Reference(reference):
            return name(reference)
        case Sequence(parts):
            return f"({' '.join(map(inner, parts))})" if parts else '""'
        case Choice(parts):
            return f"({' | '.join(map(inner, parts))})"
        case Repeat(part, times):
            return f"({inner(part)}){times}"


def _references(node: Node) -> Iterator[str]:
    match node:
        case Reference(name):
            yield name
        case Sequence(parts) | Choice(parts):
            for part in parts:
                yield from _references(part)
        case Repeat(part, _):
            yield from _references(part)


def _is_blank(node: Node) -> bool:
    match node:
        case Terminal(_, is_blank):
            return is_blank
        case Reference(_):
            return False
        case Sequence(parts) | Choice(parts):
            return all(map(_is_blank, parts))
        case Repeat(part, _):
            return _is_blank(part)


def _repeats_blanks(node: Node) -> bool:
    match node:
        case Sequence(parts) | Choice(parts):
            return any(map(_repeats_blanks, parts))
        case Repeat(part, _):
            return _is_blank(part) or _repeats_blanks(part)
    return False


def _leading_to_circles(rules: Rules, others: set[str]) -> set[str]:
    """The rules from which one comes back to where one was, or to one of `others`."""
    uses = {name: set(_references(node)) for name, node in rules.items()}
    users: dict[str, list[str]] = {name: [] for name in rules}
    for name, used in uses.items():
        for other in used:
            if other not in rules:
                raise ConstraintError(f"The grammar has no rule `{other}`, which `{name}` uses.", keyword="grammar")
            users[other].append(name)
    pending = [name for name, used in uses.items() if not used and name not in others]
    plain = set(pending)
    while pending:
        name = pending.pop()
        for user in users[name]:
            uses[user].discard(name)
            if not uses[user] and user not in plain | others:
                plain.add(user)
                pending.append(user)
    return set(rules) - plain
