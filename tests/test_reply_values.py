"""Arguments that models write as text become JSON of the types that the tool's schema says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.text.replies.format import JsonCalls, PythonArguments, ReplyFormat
from app.text.replies.parts import CallArguments, CallBegins, Content, Part
from app.text.replies.reader import ReplyReader
from app.text.replies.values import as_json, types_of
from tests.reply_templates import TEMPLATES
from tests.scripted_engine import byte_tokenizer

SCHEMA: dict[str, Any] = {
    "$defs": {"Point": {"type": "object"}, "Loop": {"$ref": "#/$defs/Loop"}},
    "properties": {
        "text": {"type": "string"},
        "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "several": {"type": ["string", "boolean"]},
        "choice": {"enum": ["a", "b"]},
        "constant": {"const": 1},
        "point": {"$ref": "#/$defs/Point"},
        "loop": {"$ref": "#/$defs/Loop"},
        "nullable": {"type": "number", "nullable": True},
        "any": {},
    },
}


def test_types_are_found_wherever_a_schema_says_them() -> None:
    found = {name: set(types_of(SCHEMA, name)) for name in [*SCHEMA["properties"], "unknown"]}
    assert found == {
        "text": {"string"},
        "either": {"integer", "null"},
        "several": {"string", "boolean"},
        "choice": {"string"},
        "constant": {"integer"},
        "point": {"object"},
        "loop": set(),
        "nullable": {"number", "null"},
        "any": set(),
        "unknown": set(),
    }


@pytest.mark.parametrize(
    ("text", "types", "expected"),
    [
        ("12", "integer", 12),
        ("12.0", "integer", 12),
        ("12", "number", 12),
        ("-1.5e-3", "number", -0.0015),
        ("true", "boolean", True),
        ("False", "boolean", False),
        ("None", "null", None),
        ("null", "string null", None),
        ("[1, 'a']", "array", [1, "a"]),
        ("{'a': True}", "object", {"a": True}),
        ('{"a": [null]}', "object", {"a": [None]}),
        ("12", "string integer", 12),
        ("012", "string integer", "012"),
        ("12", "string", "12"),
        ("12", "", 12),
        ("hello", "", "hello"),
        ("twelve", "integer", "twelve"),
        ("NaN", "number", "NaN"),
        ("[1, 2", "array", "[1, 2"),
        ("1e999", "number", "1e999"),
        ("", "integer", ""),
    ],
)
def test_a_text_is_a_value_of_its_type_or_else_the_string_that_it_is(text: str, types: str, expected: Any) -> None:
    written = as_json(text, frozenset(types.split()))
    assert json.loads(written) == expected
    assert type(json.loads(written)) is type(expected)


def reader_of(style: str) -> ReplyReader:
    reply_format = byte_tokenizer(TEMPLATES[style]).reply_format
    return ReplyReader(reply_format, {"f": {"properties": {"text": {"type": "string"}, "n": {"type": "integer"}}}})


def test_a_string_is_passed_on_as_it_arrives_and_a_number_when_it_is_complete() -> None:
    reader = reader_of("qwen-coder")
    begins: list[Part] = [CallBegins("f"), CallArguments("{")]
    assert reader.feed("<tool_call>\n<function=f>\n<parameter=") == begins
    assert reader.feed('text>\nsay "') == [CallArguments('"text": "'), CallArguments('say \\"')]
    assert reader.feed("hi\n") == [CallArguments("hi")]
    assert reader.feed("there\n</param") == [CallArguments("\\nthere")]
    assert reader.feed("eter>\n<parameter=n>\n1") == [CallArguments('"'), CallArguments(', "n": ')]
    assert reader.feed("2\n</parameter>\n") == []
    assert reader.feed("</function>\n</tool_call>") == [CallArguments("12"), CallArguments("}")]
    assert reader.finish() == []
    assert not reader.has_broken_call


def test_strings_of_python_are_passed_on_as_they_arrive() -> None:
    reader = reader_of("lfm")
    assert reader.feed("<|tool_call_start|>[f(te") == []
    assert reader.feed("xt='it\\") == [
        CallBegins("f"),
        CallArguments("{"),
        CallArguments('"text": '),
        CallArguments('"'),
        CallArguments("it"),
    ]
    assert reader.feed("'s', n=1") == [CallArguments("'s\""), CallArguments(', "n": ')]
    assert reader.feed("2)]<|tool_call_end|>") == [CallArguments("12"), CallArguments("}")]


@pytest.mark.parametrize(
    "written",
    [
        "f(text='''a\n'b' c''', n=[1, (2, 3)])",
        "f(text=\"a\\n'b' c\", n = [1,[2,3]])",
        "f(\n  text='a\\x0a\\'b\\' c',\n n=[1, [2, 3],],)",
    ],
)
def test_python_is_read_in_all_its_spellings(written: str) -> None:
    text = f"[{written}]"
    for size in (1, 2, 100):
        reader = reader_of("bare python")
        parts = [part for at in range(0, len(text), size) for part in reader.feed(text[at : at + size])]
        arguments = "".join(part.text for part in parts if isinstance(part, CallArguments))
        assert json.loads(arguments) == {"text": "a\n'b' c", "n": [1, [2, 3]]}


@pytest.mark.parametrize("text", ["[1, 2] is a list", '{"temperature": 20, "sky"', "[f] and [f(1)]", "{}", "a [f(x)]"])
def test_where_calls_have_no_markup_other_json_and_python_is_content_at_once(text: str) -> None:
    for style in ("bare python", "llama, bare JSON"):
        for size in (1, 100):
            reader = reader_of(style)
            parts = [part for at in range(0, len(text), size) for part in reader.feed(text[at : at + size])]
            assert "".join(part[0] for part in parts if isinstance(part, Content)).startswith(text[:18].rstrip())
            parts += reader.finish()
            assert "".join(part[0] for part in parts) == text


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("qwen-coder", "<function=f>\n<parameter=n>\n1\n</parameter>\n</function>"),
        ("qwen-coder", "<tool_call><function=f><parameter=n>1</parameter></function></tool_call>"),
        ("glm", "<tool_call>f<arg_key>n</arg_key><arg_value>1</arg_value></tool_call>"),
        ("mistral, ids", '[TOOL_CALLS]f[ARGS]{"n": 1}'),
        ("mistral, ids", '[TOOL_CALLS] f {"n": 1}'),
        ("mistral, a list", '[TOOL_CALLS][{"arguments": {"n": 1}, "name": "f"}]'),
        ("kimi", '<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"n": 1}<|tool_call_end|>'),
        ("llama, python", "[f(n=1)]"),
        ("llama, python", '{"name": "f", "parameters": {"n": 1}}'),
        ("llama, bare JSON", '[{"name": "f", "arguments": {"n": 1}}]'),
        ("phi", '<|tool_call|>{"name": "f", "arguments": {"n": 1}}<|/tool_call|>'),
        ("typed calls", '<tool_call>{"name": "f", "arguments": {"n": 1}}</tool_call>'),
    ],
)
def test_what_models_leave_out_or_write_in_another_order_is_read_all_the_same(style: str, text: str) -> None:
    for size in (1, 3, 1000):
        reader = reader_of(style)
        parts = [part for at in range(0, len(text), size) for part in reader.feed(text[at : at + size])]
        parts += reader.finish()
        assert parts[0] == CallBegins("f")
        assert json.loads("".join(part[0] for part in parts[1:])) == {"n": 1}
        assert not reader.has_broken_call


def test_formats_of_the_same_template_are_equal_and_say_how_to_write_a_call() -> None:
    calls = byte_tokenizer(TEMPLATES["command"]).reply_format.calls
    assert calls is not None
    assert calls.arguments == JsonCalls("tool_name", "parameters", has_leading_keys=True)
    assert byte_tokenizer(TEMPLATES["lfm"]).reply_format == ReplyFormat(
        calls=calls.__class__(
            "",
            "(",
            ")",
            PythonArguments(),
            section_begin="<|tool_call_start|>[",
            section_end="]<|tool_call_end|>",
            separator=", ",
        ),
        shows_tools=True,
    )
