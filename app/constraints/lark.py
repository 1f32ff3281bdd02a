"""Grammars in Lark's syntax (as llguidance reads it) that clients write."""

from __future__ import annotations

import re

from app.constraints.errors import ConstraintError

_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|/(?![/*])(?:[^/\\\n]|\\.)+/|(?://|#)[^\n]*')
_SPECIAL_TOKEN = re.compile(r"<[^\s<>]+>")
_ATTRIBUTE = re.compile(r"\[[^\]\n]*\b(max_tokens|temperature|stop)\b")
_LARK = re.compile(r"^[ \t]*(?:%llguidance\b|start[ \t]*:(?!:=))", re.MULTILINE)


def is_lark(text: str) -> bool:
    """Whether a grammar is written in Lark's syntax, and not in GBNF."""
    return _LARK.search(text) is not None


def check_lark(text: str) -> None:
    """Raises ConstraintError for what a grammar of a client may not ask: special tokens, and what cannot be undone.

    Special tokens are the server's to give: they end answers and begin turns. The attributes would keep the matcher
    from going back, as it does for drafts that are not accepted.
    """
    bare = _QUOTED.sub('""', text)
    if token := _SPECIAL_TOKEN.search(bare):
        raise ConstraintError(f"A grammar cannot ask for a special token: {token[0]}.", keyword="grammar")
    if attribute := _ATTRIBUTE.search(bare):
        raise ConstraintError(f"The attribute `{attribute[1]}` of a rule is not supported.", keyword="grammar")
