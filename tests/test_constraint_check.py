"""What cannot be enforced is refused by name and place, in bounded time."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from app.constraints.build import build
from app.constraints.check import _byte_tokens, check
from app.constraints.compile import MAX_TEXT_CHARS
from app.constraints.errors import ConstraintError
from app.messages import Constraint, ConstraintKind
from tests.constraint_world import json_schema


def refusal(constraint: Constraint) -> ConstraintError:
    with pytest.raises(ConstraintError) as caught:
        check(constraint)
    return caught.value


CIRCLE = {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"type": "object"}]}}, "$ref": "#/$defs/a"}
OVERLAPPING = {"oneOf": [{"type": "object"}, {"type": "object", "properties": {"a": {}}}]}


@pytest.mark.parametrize(
    ("schema", "keyword", "pointer"),
    [
        ({"properties": {"a/b": {"not": {}}}}, "not", "#/properties/a~1b/not"),
        ({"items": {"uniqueItems": True}}, "uniqueItems", "#/items/uniqueItems"),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"if": {}, "then": {}}}}, "if", "#/$defs/x/if"),
        ({"anyOf": [{}, {"contains": {}}]}, "contains", "#/anyOf/1/contains"),
        ({"propertyNames": {"maxLength": 3}}, "propertyNames", "#/propertyNames"),
        ({"dependentRequired": {"a": ["b"]}}, "dependentRequired", "#/dependentRequired"),
        ({"unevaluatedProperties": False}, "unevaluatedProperties", "#/unevaluatedProperties"),
        ({"properties": {"p": OVERLAPPING}}, "oneOf", "#/properties/p/oneOf"),
        ({"format": "json-pointer"}, "format", "#/format"),
        ({"properties": {"a": {"pattern": "b"}, "q": {"pattern": "(?=a)"}}}, "pattern", "#/properties/q/pattern"),
        ({"type": "string", "pattern": "(a"}, "pattern", "#/pattern"),
        ({"type": "string", "pattern": r"(a)\1"}, "pattern", "#/pattern"),
        ({"patternProperties": {"^a": {"type": "null"}, "b$": {}}}, "patternProperties", "#/patternProperties"),
        ({"type": "object", "minProperties": 2}, "minProperties", "#/minProperties"),
        (
            {"properties": {"a": {}, "b": {}}, "minProperties": 1, "maxProperties": 2},
            "minProperties",
            "#/minProperties",
        ),
        ({"$ref": "https://example.org/schema"}, "$ref", "#/$ref"),
        ({"$ref": "#/$defs/missing"}, "$ref", "#/$ref"),
        ({"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}}, "$ref", "#/$ref"),
        (CIRCLE, "$ref", "#/$ref"),
        ({"type": "text"}, "type", "#/type"),
        ({"properties": 3}, "properties", "#/properties"),
        ({"type": "integer", "minimum": "a"}, "minimum", "#/minimum"),
        ({"type": "integer", "multipleOf": 999_999_937}, "multipleOf", "#/multipleOf"),
        ({"properties": {"a": 1}}, "", "#/properties/a"),
        ([], "", "#"),
    ],
)
def test_a_refusal_names_keyword_and_place(schema: object, keyword: str, pointer: str) -> None:
    error = refusal(json_schema(schema))
    assert (error.keyword, error.pointer) == (keyword, pointer)
    assert not keyword or pointer in str(error)
    assert keyword in str(error)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "uniqueItems": False},
        {"type": "array", "uniqueItems": True, "maxItems": 1},
        {"type": "object", "propertyNames": {"type": "string"}},
        {"then": {}, "else": False},
        {"type": "object", "minProperties": 2, "required": ["a"]},
        {"title": "t", "description": {"not": "a schema"}, "properties": {"not": {}, "title": {"type": "string"}}},
        {"$id": "https://example.org/s", "$ref": "https://example.org/s#/$defs/a", "$defs": {"a": {"$id": "#a"}}},
        {"$defs": {"unused": {"not": {}}}},
    ],
)
def test_keywords_that_ask_nothing_are_no_reason_to_refuse(schema: object) -> None:
    assert check(json_schema(schema)).kind is ConstraintKind.COMPILED


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"enum": []},
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "object", "required": ["a"], "additionalProperties": False},
    ],
)
def test_what_nothing_satisfies_is_refused(schema: object) -> None:
    assert str(refusal(json_schema(schema))).startswith("Nothing can satisfy the constraint")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[NaN]", '{"const": 1e999}', '{"const": "\\ud800"}', "[" * 100_000, '{"const": ' + "9" * 5000 + "}"],
)
def test_text_that_is_no_json_is_refused(text: str) -> None:
    refusal(Constraint(ConstraintKind.JSON_SCHEMA, text))


@pytest.mark.parametrize(
    ("kind", "text", "word"),
    [
        (ConstraintKind.REGEX, "(?=a)", "look-around"),
        (ConstraintKind.REGEX, "a\\", "backslash"),
        (ConstraintKind.REGEX, "(" * 5000, "parenthes|group"),
        (ConstraintKind.CHOICE, "[]", "one or more"),
        (ConstraintKind.CHOICE, "[1]", "strings"),
        (ConstraintKind.LARK, "start: <|im_end|>", "special token"),
        (ConstraintKind.LARK, 'start: <[2]> "/" <[*]>', "special token"),
        (ConstraintKind.LARK, "start: x\nx[max_tokens=3]: /a*/", "max_tokens"),
        (ConstraintKind.LARK, "start: x", "unknown name"),
        (ConstraintKind.LARK, "start: a\na: b\nb: a\n", "Nothing can satisfy"),
        (ConstraintKind.LARK, 'start: ((("x"{1000}){1000}){1000})', "too complex"),
        (ConstraintKind.GBNF, 'start ::= "a"', "root"),
        (ConstraintKind.GBNF, "root ::= foo", "foo"),
        (ConstraintKind.GBNF, 'root ::= "a', "line 1"),
        (ConstraintKind.GBNF, 'root ::= "a"\nroot ::= ("b"', "line 2"),
        (ConstraintKind.GBNF, "root ::= root", "Nothing can satisfy"),
        (ConstraintKind.GBNF, "root ::= " + "(" * 10_000, "nests deeper"),
        (ConstraintKind.STRUCTURAL_TAG, "{}", "structures"),
        (ConstraintKind.STRUCTURAL_TAG, '{"format": {"type": "other"}}', "other"),
    ],
)
def test_other_kinds_are_refused_with_a_reason(kind: ConstraintKind, text: str, word: str) -> None:
    assert word.split("|")[0] in str(refusal(Constraint(kind, text))) or "|" in word


def test_a_string_of_a_grammar_may_look_like_a_special_token() -> None:
    check(Constraint(ConstraintKind.LARK, 'start: "<|im_end|>" /<b>/ // <c>\n'))


def test_a_tag_may_be_a_special_token_of_the_model() -> None:
    tag = {"structures": [{"begin": "<|call|>f", "schema": {}, "end": "<|end|>"}], "triggers": ["<|call|>"]}
    constraint = Constraint(ConstraintKind.STRUCTURAL_TAG, json.dumps(tag))
    compiled = check(constraint, {"<|call|>": 7, "<|end|>": 300})
    assert "<[7]>" in compiled.text
    assert "<[300]>" in compiled.text


def one_of_three(name: int, value: int) -> object:
    return {"properties": {f"p{name}": {"const": value}}, "required": [f"p{name}"]}


def chain(link: object, length: int) -> str:
    """A schema of so many links, each of which leads to the next: `next` in the link is replaced."""
    links = {f"d{i}": json.loads(json.dumps(link).replace("next", f"#/$defs/d{i + 1}")) for i in range(length)}
    return json.dumps({"$ref": "#/$defs/d0", "$defs": {**links, f"d{length}": {}}})


def lark_chain(length: int) -> str:
    """A grammar of rules that each lead to the next."""
    return "start: r0\n" + "".join(f'r{i}: "a" | "b" r{i + 1}\n' for i in range(length)) + f'r{length}: "x"\n'


def gbnf_chain(length: int) -> str:
    return lark_chain(length).replace(":", " ::=").replace("start", "root").replace('"x"', '"x" root?')


HOSTILE: dict[str, Any] = {
    "5,000 deep": '{"items": ' * 5000 + "{}" + "}" * 5000,
    "too long": json.dumps({"const": "x" * MAX_TEXT_CHARS}),
    "too many properties": json.dumps({"properties": {f"p{i}": {} for i in range(5000)}}),
    "a long chain of references": chain({"$ref": "next"}, 5000),
    "a chain of references within schemas": chain({"anyOf": [{"items": {"$ref": "next"}}, {"allOf": [{}]}]}, 2000),
    "an exponential number of alternatives": json.dumps(
        {
            "allOf": [
                {"anyOf": [{"properties": {f"p{i}": {"const": k}}, "required": [f"p{i}"]} for k in range(3)]}
                for i in range(12)
            ]
        }
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_schemas_are_refused(name: str) -> None:
    refusal(Constraint(ConstraintKind.JSON_SCHEMA, HOSTILE[name]))


@pytest.mark.parametrize(
    "constraint",
    [
        json_schema({"enum": [f"value {i}" for i in range(10_000)]}),
        json_schema({"type": "array", "items": {"type": "object"}, "maxItems": 1_000_000}),
        json_schema({"type": "string", "minLength": 100_000, "maxLength": 1_000_000_000}),
        json_schema({"type": "string", "pattern": "^((a{1,1000}){1,1000}){1,1000}$"}),
        Constraint(ConstraintKind.REGEX, "(x+x+)+y|(.*a.{20})"),
        Constraint(ConstraintKind.LARK, 'start: a\na: a a | a "x" | ""\n'),
    ],
    ids=["enum", "maxItems", "maxLength", "pattern", "regex", "left recursion"],
)
def test_large_and_winding_constraints_are_no_larger_inside(constraint: Constraint) -> None:
    assert len(check(constraint).text) < 2 * len(constraint.text) + 1000


def test_chains_are_compiled_up_to_a_length_and_refused_beyond() -> None:
    check(Constraint(ConstraintKind.JSON_SCHEMA, chain({"items": {"$ref": "next"}}, 190)))
    check(Constraint(ConstraintKind.LARK, lark_chain(900)))
    check(Constraint(ConstraintKind.GBNF, gbnf_chain(250)))
    assert "rules and groups" in str(refusal(Constraint(ConstraintKind.LARK, lark_chain(9_000))))
    assert "rules and groups" in str(refusal(Constraint(ConstraintKind.GBNF, gbnf_chain(9_000))))


def test_what_stands_deep_in_many_definitions_does_not_end_the_process() -> None:
    """In whichever order references are followed: the bounds are to be no more than a first line of defence."""
    deep: object = {"$ref": "next"}
    for _ in range(30):
        deep = {"anyOf": [{"allOf": [deep]}]}
    schema = json.loads(chain(deep, 300))
    matcher = build(_byte_tokens(frozenset()), json.dumps({"grammars": [{"json_schema": schema}]}))
    assert matcher.is_error() or matcher.compute_bitmask()


def test_checks_may_run_in_many_threads() -> None:
    constraints = [json_schema({"type": "object", "properties": {f"p{i}": {"type": "integer"}}}) for i in range(16)]
    compiled: dict[int, str] = {}

    def run(index: int) -> None:
        compiled[index] = check(constraints[index]).text

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(constraints))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f'"p{i}"' in compiled[i] for i in range(16)] == [True] * 16
