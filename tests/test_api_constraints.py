"""What holds an answer to a form reaches the engine, or is refused with the place at fault."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.constraints.check import check
from app.messages import Constraint, ConstraintKind
from tests.reply_templates import TEMPLATES
from tests.scripted_engine import EOS, ScriptedEngine, byte_tokenizer, ids, make_app, small, started
from tests.test_api_tools import TEMPLATE

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
UNIQUE = {"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": True}}}
TEXT = json.dumps(SCHEMA, separators=(",", ":"))
TAG = {"structures": [{"begin": "<f>", "schema": SCHEMA, "end": "</f>"}], "triggers": ["<f>"]}
FORMATS: list[tuple[dict[str, Any], Constraint]] = [
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}},
        Constraint(ConstraintKind.JSON_SCHEMA, TEXT),
    ),
    ({"response_format": {"type": "json_object"}}, Constraint(ConstraintKind.JSON_OBJECT)),
    ({"response_format": {"type": "json_object", "schema": SCHEMA}}, Constraint(ConstraintKind.JSON_SCHEMA, TEXT)),
    (
        {"response_format": {"type": "structural_tag", **TAG}},
        Constraint(ConstraintKind.STRUCTURAL_TAG, json.dumps(TAG)),
    ),
    ({"structured_outputs": {"json": SCHEMA}}, Constraint(ConstraintKind.JSON_SCHEMA, TEXT)),
    ({"structured_outputs": {"json": TEXT}}, Constraint(ConstraintKind.JSON_SCHEMA, TEXT)),
    ({"structured_outputs": {"regex": "[ab]+", "disable_fallback": True}}, Constraint(ConstraintKind.REGEX, "[ab]+")),
    ({"structured_outputs": {"choice": ["a", "é"]}}, Constraint(ConstraintKind.CHOICE, '["a","é"]')),
    ({"structured_outputs": {"grammar": 'start: "a"'}}, Constraint(ConstraintKind.LARK, 'start: "a"')),
    ({"structured_outputs": {"grammar": 'root ::= "a"'}}, Constraint(ConstraintKind.GBNF, 'root ::= "a"')),
    (
        {"structured_outputs": {"structural_tag": json.dumps(TAG)}},
        Constraint(ConstraintKind.STRUCTURAL_TAG, json.dumps(TAG)),
    ),
    ({"structured_outputs": {"json_object": True}}, Constraint(ConstraintKind.JSON_OBJECT)),
    ({"guided_json": SCHEMA}, Constraint(ConstraintKind.JSON_SCHEMA, TEXT)),
    ({"guided_regex": "[ab]+"}, Constraint(ConstraintKind.REGEX, "[ab]+")),
    ({"guided_choice": ["a"]}, Constraint(ConstraintKind.CHOICE, '["a"]')),
    ({"guided_grammar": 'root ::= "a"'}, Constraint(ConstraintKind.GBNF, 'root ::= "a"')),
    ({"json_schema": SCHEMA}, Constraint(ConstraintKind.JSON_SCHEMA, TEXT)),
    ({"grammar": 'root ::= "a"'}, Constraint(ConstraintKind.GBNF, 'root ::= "a"')),
]
TOOL = {"type": "function", "function": {"name": "add", "parameters": SCHEMA}}


async def send(path: str, template: str | None = None, **body: Any) -> tuple[int, dict[str, Any], ScriptedEngine]:
    """Status, error object (or answer) and engine, for a body that is complete but for `body`."""
    engine = ScriptedEngine([*ids("k"), EOS], ready=small(max_model_len=9000, num_blocks=2000))
    whole = ({"messages": [{"role": "user", "content": "hi"}]} if path == CHAT else {"prompt": "a"}) | body
    tokenizer = byte_tokenizer(template) if template else byte_tokenizer()
    async with started(make_app(engine, load_tokenizer=lambda: tokenizer)) as client:
        answer = await client.post(path, json=whole)
    result: dict[str, Any] = answer.json()
    return answer.status_code, result.get("error", result), engine


async def refused(path: str = CHAT, template: str | None = None, **body: Any) -> dict[str, Any]:
    status, error, engine = await send(path, template, **body)
    assert (status, engine.submissions) == (400, [])
    return error


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize(("fields", "constraint"), FORMATS, ids=str)
async def test_every_form_reaches_the_engine_compiled(
    path: str, fields: dict[str, Any], constraint: Constraint
) -> None:
    status, _, engine = await send(path, **fields)
    assert status == 200
    assert [asked.constraint for asked in engine.submissions] == [check(constraint)]


async def test_all_choices_of_all_prompts_share_one_constraint() -> None:
    _, _, engine = await send(COMPLETIONS, prompt=["a", "b"], n=2, guided_regex="[ab]+")
    [first, *others] = [asked.constraint for asked in engine.submissions]
    assert first is not None
    assert all(other is first for other in others)
    assert len(others) == 3


@pytest.mark.parametrize("fields", [{}, {"response_format": {"type": "text"}}, {"response_format": None}])
async def test_text_is_not_constrained(fields: dict[str, Any]) -> None:
    _, _, engine = await send(CHAT, **fields)
    assert engine.submissions[0].constraint is None


async def test_a_schema_that_is_not_strict_is_enforced_as_far_as_it_can_be() -> None:
    _, _, engine = await send(
        CHAT, response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": UNIQUE, "strict": False}}
    )
    assert engine.submissions[0].constraint is not None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"json_schema": UNIQUE}, "json_schema"),
        ({"guided_json": UNIQUE}, "guided_json"),
        ({"structured_outputs": {"json": UNIQUE}}, "structured_outputs.json"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": UNIQUE}}},
            "response_format.json_schema.schema",
        ),
    ],
)
async def test_what_cannot_be_enforced_is_refused_with_its_keyword_and_place(
    fields: dict[str, Any], field: str
) -> None:
    error = await refused(**fields)
    assert (error["param"], error["code"]) == (field, "invalid_value")
    assert "#/properties/tags/uniqueItems: `uniqueItems` cannot be enforced" in error["message"]


@pytest.mark.parametrize(
    ("fields", "param", "named"),
    [
        ({"guided_regex": "("}, "guided_regex", "'guided_regex' cannot be used"),
        ({"guided_choice": []}, "guided_choice", "guided_choice"),
        ({"grammar": "root ::= b"}, "grammar", "'grammar' cannot be used"),
        ({"structured_outputs": {}}, "structured_outputs", "asks for nothing"),
        ({"structured_outputs": {"rejex": "a"}}, "structured_outputs.rejex", "'regex'"),
        ({"structured_outputs": {"regex": "a", "json_object": True}}, "structured_outputs.json_object", "both"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "needs 'json_schema'"),
        ({"response_format": {"type": "text", "schema": {}}}, "response_format.schema", "does not belong"),
        ({"response_format": {"type": "json_object"}, "guided_regex": "a"}, "guided_regex", "'response_format' and"),
        ({"json_schema": {}, "ignore_eos": True}, "ignore_eos", "'json_schema'"),
    ],
)
async def test_what_is_malformed_or_contradicts_itself_is_refused(
    fields: dict[str, Any], param: str, named: str
) -> None:
    error = await refused(**fields)
    assert error["param"] == param
    assert named in error["message"]


async def test_a_constraint_at_fault_is_named_beside_all_other_faults() -> None:
    for others in ({"temperature": 3}, {"n": 129}, {"messages": [{"role": "user", "content": "x" * 9001}]}):
        error = await refused(json_schema=UNIQUE, **others)
        assert error["message"].startswith("2 faults: ")
        assert "`uniqueItems` cannot be enforced" in error["message"]


# Calls


def form_of(engine: ScriptedEngine) -> str:
    constraint = engine.submissions[0].constraint
    return "" if constraint is None else constraint.text


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "add"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "add"}}]},
        },
    ],
)
async def test_a_call_that_is_required_is_written_in_the_form_of_the_model(choice: Any) -> None:
    _, _, engine = await send(CHAT, TEMPLATE, tools=[TOOL], tool_choice=choice)
    assert "<tool_call>" in form_of(engine)
    assert "add" in form_of(engine)


async def test_only_tools_that_are_allowed_may_be_called() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    choice = {"type": "function", "function": {"name": "add"}}
    _, _, engine = await send(CHAT, TEMPLATE, tools=[TOOL, other], tool_choice=choice)
    assert "other" not in form_of(engine)
    assert "other" in bytes(engine.submissions[0].prompt_token_ids).decode()


async def test_calls_that_are_offered_are_held_to_their_schema_too() -> None:
    _, _, engine = await send(CHAT, TEMPLATE, tools=[TOOL])
    assert "<tool_call>" in form_of(engine)
    _, _, engine = await send(CHAT, TEMPLATE, tools=[TOOL], tool_choice="none")
    assert form_of(engine) == ""


async def test_a_tool_that_cannot_be_held_to_its_schema_is_refused_only_if_it_is_strict() -> None:
    loose = {"type": "function", "function": {"name": "add", "parameters": UNIQUE}}
    strict = {"type": "function", "function": {"name": "add", "parameters": UNIQUE, "strict": True}}
    unknown = {"type": "function", "function": {"name": "add", "parameters": {"$ref": "https://elsewhere"}}}
    for tool in (loose, unknown):
        status, _, engine = await send(CHAT, TEMPLATE, tools=[tool])
        assert (status, "<tool_call>" in form_of(engine)) == (200, True)
    error = await refused(CHAT, TEMPLATE, tools=[strict])
    assert error["param"] == "tools"
    assert "The tool 'add': #/properties/tags/uniqueItems" in error["message"]


STYLES = ("hermes", "qwen-coder", "bare python", "harmony")
UNUSUAL: list[dict[str, Any]] = [
    {"required": 5},
    {"required": ["a b"]},
    {"properties": [1]},
    {"properties": {"a": None, "": {}, 'b "<>': {"type": "integer"}}},
    {"type": "string"},
    {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"$ref": "#/$defs/x"}}},
    {"properties": {"a": {"type": "integer", "minimum": 5, "maximum": 1}}, "required": ["a"]},
    {"properties": {f"p{number}": {"type": "string"} for number in range(300)}},
    {"not": {}},
]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("parameters", UNUSUAL, ids=lambda each: json.dumps(each)[:30])
async def test_no_schema_of_a_tool_is_a_fault_unless_the_tool_is_strict(style: str, parameters: dict[str, Any]) -> None:
    for strict, choice in ((False, "auto"), (False, "required"), (True, "required")):
        tool = {"type": "function", "function": {"name": "f", "parameters": parameters, "strict": strict}}
        status, error, _ = await send(CHAT, TEMPLATES[style], tools=[tool], tool_choice=choice)
        assert status == 200 or (strict and status == 400), error


async def test_strict_is_not_shown_to_the_model() -> None:
    prompts = []
    for function in (TOOL["function"], {**TOOL["function"], "strict": True}):  # type: ignore[dict-item]
        _, _, engine = await send(CHAT, TEMPLATE, tools=[{"type": "function", "function": function}])
        prompts.append(engine.submissions[0].prompt_token_ids)
    assert prompts[0] == prompts[1]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tool_choice": "required"}, "'tool_choice' needs 'tools'"),
        ({"tools": [TOOL], "tool_choice": "any"}, '"required"'),
        ({"tools": [TOOL], "tool_choice": {"type": "auto"}}, '"required"'),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "has 'function'"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "sub"}}}, "'sub', which is none"),
        (
            {"tools": [TOOL], "tool_choice": "required", "response_format": {"type": "json_object"}},
            "'response_format' holds",
        ),
        ({"tools": [TOOL], "tool_choice": "required", "ignore_eos": True}, "'ignore_eos' lets no answer end"),
    ],
)
async def test_a_choice_of_tools_that_makes_no_sense_is_refused(fields: dict[str, Any], named: str) -> None:
    error = await refused(CHAT, TEMPLATE, **fields)
    assert named in error["message"]


async def test_a_call_that_the_request_names_ends_with_stop_as_openai_has_it() -> None:
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    named = {"type": "function", "function": {"name": "add"}}
    for choice, reason in (("required", "tool_calls"), (named, "stop")):
        engine = ScriptedEngine([*ids(call), EOS], ready=small(max_model_len=2000, num_blocks=1000))
        body = {"messages": [{"role": "user", "content": "hi"}], "tools": [TOOL], "tool_choice": choice}
        async with started(make_app(engine, load_tokenizer=lambda: byte_tokenizer(TEMPLATE))) as client:
            [answer] = (await client.post(CHAT, json=body)).json()["choices"]
        assert answer["message"]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
        assert answer["finish_reason"] == reason
