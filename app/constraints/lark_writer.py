"""Writing grammars in Lark's syntax, in which texts may hold special tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.constraints.errors import ConstraintError
from app.constraints.json_text import write_json

_WHAT = "The grammar"


class LarkWriter:
    """Makes expressions of texts, and collects the rules that these refer to.

    Where a text has the name of one of `special_tokens` (name to id), the token itself is meant.
    """

    def __init__(self, special_tokens: Mapping[str, int]) -> None:
        self.rules = [r"TEXT: /(?s:.*)/"]
        self._special_tokens = special_tokens
        names = sorted(special_tokens, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, names)) or r"(?!)")

    def text(self, text: str) -> str:
        """A text as strings of Lark, and special tokens by their ids."""
        parts, last = [], 0
        for match in self._special.finditer(text):
            parts += [_quoted(text[last : match.start()]), f"<[{self._special_tokens[match[0]]}]>"]
            last = match.end()
        return " ".join(filter(None, [*parts, _quoted(text[last:])])) or '""'

    def text_until(self, end: str, before: str = "TEXT") -> str:
        """Any text, or what the terminal `before` matches, up to the first `end`, and that.

        Raises ConstraintError if it has text before a special token.
        """
        if special := self._special.search(end):
            if special.start():
                message = f"A text that ends what may be any text begins with its special token; {end!r} does not."
                raise ConstraintError(message)
            return f"{before} {self.text(end)}"
        return self.rule(f"{before} {self.text(end)}", "[lazy]")

    def rule(self, expression: str, attributes: str = "") -> str:
        """The name of a new rule."""
        name = f"rule_{len(self.rules)}"
        self.rules.append(f"{name}{attributes}: {expression}")
        return name

    def grammar(self, start: str) -> str:
        """The whole grammar, whose outputs are those of `start`."""
        return "\n".join([f"start: {start}", *self.rules, ""])


def _quoted(text: str) -> str:
    return write_json(text, _WHAT) if text else ""
