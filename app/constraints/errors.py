"""What is wrong with a constraint, in words for the client that sent it."""

from __future__ import annotations


class ConstraintError(ValueError):
    """A constraint that cannot be enforced.

    `keyword` is what is at fault (`uniqueItems`, `pattern`), and `pointer` its place in a JSON schema (a URI fragment:
    `#/properties/tags/uniqueItems`). Both are empty where the constraint as a whole is at fault.
    """

    def __init__(self, message: str, *, keyword: str = "", pointer: str = "") -> None:
        super().__init__(message)
        self.keyword = keyword
        self.pointer = pointer


class MatcherError(RuntimeError):
    """A sequence cannot go on under its grammar: the grammar became too complex, or a token did not fit."""
