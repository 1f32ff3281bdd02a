"""Constraints that begin behind the reasoning."""

from __future__ import annotations

import pytest

from app.constraints.after import after
from app.constraints.check import check
from app.constraints.grammars import Grammar
from app.messages import Constraint, ConstraintKind
from tests.constraint_world import embedded_table, encode, json_schema

SCHEMA = json_schema({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
ANSWERS = {
    "schema": (SCHEMA, '{"a": 1}', '{"b": 1}'),
    "choice": (Constraint(ConstraintKind.CHOICE, '["yes", "no"]'), "yes", "maybe"),
    "gbnf": (Constraint(ConstraintKind.GBNF, 'root ::= "(" root? ")"'), "(())", "(]"),
}


def taken(constraint: Constraint, text: str) -> bool:
    matcher = Grammar(constraint, embedded_table()).matcher(())
    token_ids = encode(text)
    if matcher.verify(token_ids) < len(token_ids):
        return False
    matcher.advance(token_ids)
    return matcher.is_accepting


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("reasoning", ["", "So: {no} </thin </x>\n\n", "好, "])
def test_the_answer_is_held_to_its_constraint_and_the_reasoning_to_nothing(name: str, reasoning: str) -> None:
    constraint, good, bad = ANSWERS[name]
    begun = after("</think>", check(constraint))
    assert check(begun) == begun
    for blanks in ("", "\n\n"):
        assert taken(begun, f"{reasoning}</think>{blanks}{good}")
        assert not taken(begun, f"{reasoning}</think>{blanks}{bad}")
    assert not taken(begun, reasoning)
    assert not taken(begun, f"{reasoning}</think>")
    assert not taken(begun, f"</think>{reasoning}x{good}")


def test_the_reasoning_may_end_with_a_special_token() -> None:
    special = {"<|fim_middle|>": 4}
    begun = check(after("<|fim_middle|>", check(SCHEMA), special), special)
    matcher = Grammar(begun, embedded_table()).matcher([2])
    matcher.advance(encode("I think so"))
    assert matcher.verify([4, *encode('\n\n{"a": 1}')]) == 1 + len(encode('\n\n{"a": 1}'))
    assert matcher.verify([2]) == 0
    matcher.advance([4])
    assert matcher.verify(encode("no")) == 0
    matcher.rollback(1)
    assert matcher.verify(encode("no")) == len(encode("no"))
