"""Grammars in Lark's syntax (as llguidance reads it) that clients write."""

from __future__ import annotations

import json
import re

from app.constraints.errors import ConstraintError
from app.constraints.json_grammar import json_rule

MAX_PARTS = 1000
"""Rules, terminals and groups: llguidance recurses along them."""

_QUOTED = r'"(?:[^"\\\n]|\\.)*"|/(?![/*])(?:[^/\\\n]|\\.)+/|(?://|\#)[^\n]*'
_SCAN = re.compile(rf"{_QUOTED}|(?P<json>%json\s*)")
_SPECIAL_TOKEN = re.compile(r"<[^\s<>]+>")
_ATTRIBUTE = re.compile(r"\[[^\]\n]*\b(max_tokens|temperature|stop)\b")
_PART = re.compile(r"[(\[{]|^[ \t]*[?!]*[A-Za-z_][\w-]*[^:\n]*:", re.MULTILINE)
_LARK = re.compile(r"^[ \t]*(?:%llguidance\b|start[ \t]*:(?!:=))", re.MULTILINE)


def is_lark(text: str) -> bool:
    """Whether a grammar is written in Lark's syntax, and not in GBNF."""
    return _LARK.search(text) is not None


def read_lark(text: str) -> str:
    """The grammar as it is to be compiled: schemas in it are held to what schemas are held to elsewhere.

    Raises ConstraintError for what a grammar of a client may not ask: special tokens, which are the server's to give
    (they end answers and begin turns), and attributes that keep a matcher from going back, as it does for drafts.
    """
    parts, bare, at = [], [], 0
    while found := _SCAN.search(text, at):
        before = text[at : found.start()]
        if found["json"] is None:
            parts += [before, found[0]]
            bare += [before, '""']
            at = found.end()
        else:
            schema, at = _read_schema(text, found.end())
            parts += [before, schema]
            bare += [before, "json"]
    _check_bare("".join([*bare, text[at:]]))
    return "".join([*parts, text[at:]])


def _read_schema(text: str, start: int) -> tuple[str, int]:
    """The rule of a schema that stands there, and where it ends."""
    try:
        schema, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        message = f"`%json` in the grammar is not followed by valid JSON: {error}."
        raise ConstraintError(message, keyword="grammar") from error
    return json_rule(schema, strict=True), end


def _check_bare(text: str) -> None:
    """The grammar without strings, expressions, comments and schemas."""
    if token := _SPECIAL_TOKEN.search(text):
        raise ConstraintError(f"A grammar cannot ask for a special token: {token[0]}.", keyword="grammar")
    if attribute := _ATTRIBUTE.search(text):
        raise ConstraintError(f"The attribute `{attribute[1]}` of a rule is not supported.", keyword="grammar")
    check_parts(text)


def check_parts(text: str) -> None:
    """Raises ConstraintError for a grammar of more rules and groups than may lead to one another."""
    if (count := len(_PART.findall(_SCAN.sub('""', text)))) > MAX_PARTS:
        message = f"A grammar has at most {MAX_PARTS} rules and groups; this one has {count}."
        raise ConstraintError(message, keyword="grammar")
