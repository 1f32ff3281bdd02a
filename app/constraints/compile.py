"""From each kind of constraint to one: a list of grammars in llguidance's own JSON, of which the first is the root."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from llguidance import regex_to_lark

from app.constraints.errors import ConstraintError
from app.constraints.gbnf_to_lark import gbnf_to_lark
from app.constraints.json_grammar import json_grammar
from app.constraints.json_text import read_json, write_json
from app.constraints.lark import check_parts, read_lark
from app.constraints.structural import structural_tag_to_lark
from app.messages import Constraint, ConstraintKind

MAX_TEXT_CHARS = 256 * 1024
"""Of a constraint. The time of compiling is at worst some seconds for so much (measured), in a thread of its own."""


def compile_constraint(constraint: Constraint, special_tokens: Mapping[str, int] | None = None) -> Constraint:
    """Returns a constraint of the kind COMPILED (one that is so already as it is).

    `special_tokens`, name to id, are those that a structural tag may begin or end with. Raises ConstraintError for
    what is malformed or, as far as it is seen without building the parser, cannot be enforced: see `check`.
    """
    if constraint.kind is ConstraintKind.COMPILED:
        return constraint
    if len(constraint.text) > MAX_TEXT_CHARS:
        raise ConstraintError(
            f"A constraint has at most {MAX_TEXT_CHARS} characters; this one has {len(constraint.text)}."
        )
    if constraint.kind is ConstraintKind.STRUCTURAL_TAG:
        grammar = _lark(structural_tag_to_lark(constraint, special_tokens or {}))
    else:
        grammar = _COMPILERS[constraint.kind](constraint)
    return Constraint(ConstraintKind.COMPILED, write_json({"grammars": [grammar]}, "The constraint"), constraint.strict)


def _lark(text: str) -> dict[str, object]:
    return {"lark_grammar": text}


def _json_schema(constraint: Constraint) -> dict[str, object]:
    return {"json_schema": json_grammar(read_json(constraint.text, "The JSON schema"), strict=constraint.strict)}


def _json_object(_constraint: Constraint) -> dict[str, object]:
    return {"json_schema": json_grammar({"type": "object"}, strict=True)}


def _regex(constraint: Constraint) -> dict[str, object]:
    r"""As in JavaScript and JSON Schema, `\d` and `\w` are ASCII. The whole output must match."""
    if re.search(r"(?<!\\)(?:\\\\)*\\\Z", constraint.text):
        raise ConstraintError("The regular expression ends in a backslash that escapes nothing.", keyword="regex")
    return _lark(f"start: /{regex_to_lark(constraint.text, 'dw')}/")


def _choice(constraint: Constraint) -> dict[str, object]:
    choices = read_json(constraint.text, "The list of choices")
    if not (isinstance(choices, list) and choices and all(isinstance(choice, str) for choice in choices)):
        raise ConstraintError("The choices are a list of one or more strings.", keyword="choice")
    # One terminal: as several, the longest would be tried alone where one begins with another.
    return _lark("start: CHOICE\nCHOICE: " + "\n  | ".join(write_json(choice, "A choice") for choice in choices))


def _gbnf(constraint: Constraint) -> dict[str, object]:
    text = gbnf_to_lark(constraint.text)
    check_parts(text)
    return _lark(text)


def _lark_text(constraint: Constraint) -> dict[str, object]:
    return _lark(read_lark(constraint.text))


_COMPILERS: dict[ConstraintKind, Callable[[Constraint], dict[str, object]]] = {
    ConstraintKind.JSON_SCHEMA: _json_schema,
    ConstraintKind.JSON_OBJECT: _json_object,
    ConstraintKind.REGEX: _regex,
    ConstraintKind.CHOICE: _choice,
    ConstraintKind.GBNF: _gbnf,
    ConstraintKind.LARK: _lark_text,
}
