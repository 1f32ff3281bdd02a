"""Constraints of every kind, as grammars: what they take, and what they do not."""

from __future__ import annotations

import json

import pytest

from app.constraints.check import check
from app.constraints.errors import ConstraintError
from app.constraints.lark import is_lark
from app.messages import Constraint, ConstraintKind
from tests.constraint_world import accepts, json_schema

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "ages": {"type": "array", "items": {"type": "integer"}}},
    "required": ["name"],
    "additionalProperties": False,
}


def of(kind: ConstraintKind, text: str) -> Constraint:
    return Constraint(kind, text)


# JSON schemas


@pytest.mark.parametrize("layout", [{"separators": (",", ":")}, {}, {"indent": 2}, {"indent": 4}, {"indent": "\t"}])
def test_json_may_be_laid_out_in_every_usual_way(layout: dict[str, object]) -> None:
    text = json.dumps({"name": "Zoë", "ages": [1, 2]}, ensure_ascii=False, **layout)  # type: ignore[arg-type]
    assert accepts(json_schema(PERSON), text) == [True]


@pytest.mark.parametrize(
    "text",
    ['{"name":  "x"}', '{\n\n"name": "x"}', '{"name": "x"\n' + " " * 65 + "}", ' {"name": "x"}', '{"name": "x"} '],
)
def test_white_space_is_bounded(text: str) -> None:
    assert accepts(json_schema(PERSON), text) == [False]


def test_properties_come_in_the_order_of_the_schema_and_optional_ones_may_be_left_out() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {}, "b": {}, "c": {}},
        "required": ["b"],
        "additionalProperties": False,
    }
    texts = ['{"b": 1}', '{"a": 1, "b": 1}', '{"b": 1, "c": 1}', '{"b": 1, "a": 1}', '{"a": 1}', '{"b": 1, "b": 1}']
    assert accepts(json_schema(schema), *texts) == [True, True, True, False, False, False]


def test_properties_that_are_not_named_are_allowed_unless_the_schema_says_no() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert accepts(json_schema(schema), '{"a": 1, "x": [null]}', '{"x": {}}', '{"a": "no"}') == [True, True, False]


@pytest.mark.parametrize("schema", [True, {}])
def test_a_schema_that_asks_nothing_takes_any_json(schema: object) -> None:
    assert accepts(json_schema(schema), "1.5", '"x"', "[{}]", "nul") == [True, True, True, False]


def test_any_object_is_an_object() -> None:
    assert accepts(of(ConstraintKind.JSON_OBJECT, ""), '{"a": [1]}', "{}", "[]", '{"a"}') == [True, True, False, False]


def test_references_and_alternatives_are_followed() -> None:
    schema = {
        "$defs": {
            "node/a": {
                "type": "object",
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node~1a"}, {"type": "null"}]}},
                "required": ["next"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node~1a",
    }
    assert accepts(json_schema(schema), '{"next": {"next": null}}', '{"next": {}}') == [True, False]


@pytest.mark.parametrize(
    ("format_name", "good", "bad"),
    [
        ("date", "2024-02-29", "2023-02-29"),
        ("date", "2000-02-29", "1900-02-29"),
        ("date", "0001-01-01", "0000-01-01"),
        ("time", "23:59:59Z", "23:59:60Z"),
        ("date-time", "2024-12-31T00:00:00.5+01:00", "2024-12-31"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
        ("ipv4", "10.0.0.1", "10.0.0.256"),
        ("email", "a@example.org", "a.example.org"),
    ],
)
def test_formats_are_held_to_what_can_be_read_back(format_name: str, good: str, bad: str) -> None:
    schema = {"type": "string", "format": format_name}
    assert accepts(json_schema(schema), json.dumps(good), json.dumps(bad)) == [True, False]


def test_a_format_is_held_to_beside_a_pattern_and_in_an_enum() -> None:
    schema = {"type": "string", "format": "date", "pattern": "^2024", "allOf": [{"maxLength": 10}]}
    assert accepts(json_schema(schema), '"2024-02-29"', '"2023-01-01"', '"2024-02-30"') == [True, False, False]


def test_a_format_that_json_schema_does_not_know_says_nothing() -> None:
    assert accepts(json_schema({"type": "string", "format": "password"}), '"x"') == [True]


def test_beside_a_reference_of_draft_7_nothing_counts() -> None:
    schema = {"$ref": "#/definitions/a", "enum": [1], "definitions": {"a": {"type": "integer"}}}
    assert accepts(json_schema(schema), "1", "2") == [True, False]
    draft_7 = {"$schema": "http://json-schema.org/draft-07/schema#", **schema}
    assert accepts(json_schema(draft_7), "1", "2") == [True, True]


def test_options_of_the_library_in_a_schema_are_not_heeded() -> None:
    schema = {"x-guidance": {"lenient": True, "whitespace_flexible": True}, "type": "array", "uniqueItems": True}
    with pytest.raises(ConstraintError, match="uniqueItems"):
        check(json_schema(schema))


def test_a_schema_that_is_not_strict_is_enforced_as_far_as_it_can_be() -> None:
    one_of = {"oneOf": [{"type": "object"}, {"type": "object", "properties": {"a": {}}}]}
    schema = {"type": "object", "properties": {"a": {"type": "integer", "not": {"const": 1}}, "b": one_of}}
    constraint = json_schema(schema, strict=False)
    assert accepts(constraint, '{"a": 1, "b": {}}', '{"a": "x"}') == [True, False]


# The other kinds


def test_a_regular_expression_is_matched_as_a_whole() -> None:
    texts = ["12/ab", "12/abc", "x12/ab", "١٢/ab"]
    assert accepts(of(ConstraintKind.REGEX, r"\d+/\w{2}"), *texts) == [True, False, False, False]
    assert accepts(of(ConstraintKind.REGEX, "^a\nb?$"), "a\n", "a\nb", "a") == [True, True, False]


def test_one_of_the_choices_is_taken_as_it_is() -> None:
    choices = ["a", "ab", 'quoted "x"\n', "😀", "abba"]
    texts = [*choices, "abb", ""]
    assert accepts(of(ConstraintKind.CHOICE, json.dumps(choices)), *texts) == [True] * 5 + [False] * 2


def test_a_grammar_of_lark_may_contain_a_schema() -> None:
    text = 'start: "call " NAME args\nNAME: /[a-z]+/\nargs: %json {"type": "array", "items": {"type": "null"}}\n'
    assert accepts(of(ConstraintKind.LARK, text), "call f[null]", "call F[]", "call f[1]") == [True, False, False]


def test_schemas_in_a_grammar_are_held_to_what_schemas_are_held_to() -> None:
    date = 'start: "on " %json {"type": "string", "format": "date"} /(%json x)?/ // %json\n'
    assert accepts(of(ConstraintKind.LARK, date), 'on "2024-02-29"', 'on "2023-02-29"') == [True, False]
    for schema in ('{"uniqueItems": true}', "{", '{"type": "string"'):
        with pytest.raises(ConstraintError):
            check(of(ConstraintKind.LARK, f"start: %json {schema}\n"))


GBNF = r"""
# Arithmetic, with everything that the notation has.
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"""


def test_a_grammar_of_llama_cpp_takes_what_it_takes_there() -> None:
    good = ["1=1\n", "(a_1 +2)*3 = x\n", "1=1\n2/(3-4)=5\n"]
    bad = ["1=\n", "(1=1\n", "1 = 1", "A=1\n"]
    assert accepts(of(ConstraintKind.GBNF, GBNF), *good, *bad) == [True] * 3 + [False] * 4


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        (r'root ::= "a\x41\u00e9\U0001F600\"\\"', 'aAé😀"\\', "aA"),
        ("root ::= [^a-c\\]\\n&~-]{2}", "dZ", "d&"),
        ("root ::= [a&&b]+", "a&b", "c"),
        ("root ::= . . ", "\né", "a"),
        ('root ::= ("a" | "ab") "bc"', "abc", "ab"),
        ('root ::= x{2,3} "."\nx ::= "a" |\n "b" # or\n', "ab.", "a."),
        ('root ::= "" | "x" root', "xx", "y"),
        ('root ::= "x" rest\nrest ::= | "," root', "x,x", "x,"),
    ],
)
def test_the_notation_of_llama_cpp(text: str, good: str, bad: str) -> None:
    assert accepts(of(ConstraintKind.GBNF, text), good, bad) == [True, False]


def test_the_two_notations_of_grammars_are_told_apart() -> None:
    assert [is_lark('start: "a"'), is_lark('%llguidance {}\nstart: "a"')] == [True, True]
    assert [is_lark(GBNF), is_lark('root ::= start\nstart ::= "a"')] == [False, False]


# Structural tags

WEATHER = {"begin": "<function=weather>", "schema": {"type": "object", "required": ["city"]}, "end": "</function>"}
CLOCK = {"begin": "<function=clock>", "schema": {"type": "integer"}, "end": "</function>"}


def test_text_is_free_until_a_tag_begins_and_then_held_to_its_schema() -> None:
    tag = {"type": "structural_tag", "structures": [WEATHER, CLOCK], "triggers": ["<function="]}
    texts = [
        "no call <b>",
        'so <function=weather>{"city": "Rome"}</function>!',
        "<function=clock>1</function><function=clock>2</function>",
        "<function=clock>x</function>",
        "<function=other>1</function>",
        "<function=weather>{}</function>",
    ]
    constraint = of(ConstraintKind.STRUCTURAL_TAG, json.dumps(tag))
    assert accepts(constraint, *texts) == [True, True, True, False, False, False]


def test_formats_are_put_together() -> None:
    think = {"type": "tag", "begin": "<why>", "content": {"type": "any_text"}, "end": "</why>"}
    number = {"type": "json_schema", "json_schema": {"type": "integer"}}
    answer = {"type": "or", "elements": [{"type": "regex", "pattern": "yes|no"}, number]}
    form = {"type": "sequence", "elements": [think, {"type": "const_string", "value": "\n"}, answer]}
    constraint = of(ConstraintKind.STRUCTURAL_TAG, json.dumps({"type": "structural_tag", "format": form}))
    texts = ["<why>a </wh b</why>\nyes", "<why></why>\n12", "<why>a\nyes", "yes"]
    assert accepts(constraint, *texts) == [True, True, False, False]


@pytest.mark.parametrize(
    ("at_least_one", "stop_after_first"), [(False, False), (True, False), (False, True), (True, True)]
)
def test_triggered_tags_are_counted(at_least_one: bool, stop_after_first: bool) -> None:
    content = {"type": "regex", "pattern": "[0-9]"}
    form = {
        "type": "triggered_tags",
        "triggers": ["<n>"],
        "tags": [{"type": "tag", "begin": "<n>", "content": content, "end": "</n>"}],
        "at_least_one": at_least_one,
        "stop_after_first": stop_after_first,
    }
    constraint = of(ConstraintKind.STRUCTURAL_TAG, json.dumps({"type": "structural_tag", "format": form}))
    found = accepts(constraint, "none", "one <n>1</n>", "two <n>1</n> <n>2</n>", "bad <n>x</n>")
    assert found == [not at_least_one, True, not stop_after_first, False]
