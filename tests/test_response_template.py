"""Replies of checkpoints that describe them for transformers' ResponseParser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from app.text.replies.format import ReplyFormat
from app.text.replies.opening import begun_reply, open_reader
from app.text.replies.parts import CallBegins, Content, Part, Reasoning, Schema
from app.text.replies.response_template import TemplateReader, is_readable
from app.text.tokenizer import Tokenizer
from tests.scripted_engine import byte_backend

TEMPLATE: dict[str, Any] = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|turn>model\n",
    "fields": {
        "reasoning_content": {"open": "<|channel>thought\n", "close": "<channel|>", "content": "text"},
        "tool_calls": {
            "open_pattern": r"<\|tool_call>call:(?P<name>\w+)",
            "close": "<tool_call|>",
            "repeats": True,
            "content": "json",
            "content_args": {"unquoted_keys": True, "string_delims": [['<|"|>', '<|"|>']]},
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "content": {"content": "text"},
    },
}
FORMAT = ReplyFormat(response_template=TEMPLATE, shows_tools=True)
TOOLS: dict[str, Schema] = {"f": {"properties": {"city": {"type": "string"}, "n": {"type": "integer"}}}}
CALL = '<|tool_call>call:f{city:<|"|>Zürich<|"|>,n:"3"}<tool_call|>'

pytestmark = pytest.mark.skipif(not is_readable(TEMPLATE), reason="this transformers has no ResponseParser")


def read(text: str, size: int, begun: str = "") -> list[Part]:
    reader = open_reader(FORMAT, TOOLS, begun=begun)
    assert isinstance(reader, TemplateReader)
    parts = [part for at in range(0, len(text), size) for part in reader.feed(text[at : at + size])]
    joined: list[Part] = []
    for part in parts + reader.finish():
        if joined and not isinstance(part, CallBegins) and type(joined[-1]) is type(part):
            joined[-1] = type(part)(joined[-1][0] + part[0])
        else:
            joined.append(part)
    return joined


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_reasoning_content_and_calls_are_told_apart(size: int) -> None:
    reasoning, content, begins, arguments, *others = read(f"<|channel>thought\nhm<channel|>so: {CALL}{CALL}", size)
    assert (reasoning, content, begins) == (Reasoning("hm"), Content("so: "), CallBegins("f"))
    assert json.loads(arguments[0]) == {"city": "Zürich", "n": 3}
    assert others == [begins, arguments]


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_what_is_no_call_of_an_offered_tool_is_content(size: int) -> None:
    assert read("a <|tool_call>call:g{n:1}<tool_call|> b", size) == [Content("a {n:1} b")]
    assert read("a <|tool_call>call:f{n:}<tool_call|> b", size) == [Content("a {n:} b")]
    assert read("a <|tool_call>call:f{n:1", size) == [Content("a {n:1")]


def test_reasoning_that_the_prompt_begins_goes_on() -> None:
    begun = begun_reply(FORMAT, "Well?<turn|>\n<|turn>model\n<|channel>thought\n")
    assert begun == "<|channel>thought\n"
    assert read("hm<channel|>yes", 3, begun) == [Reasoning("hm"), Content("yes")]
    assert begun_reply(FORMAT, "no anchor") == ""


def test_a_description_that_this_version_cannot_read_is_not_used() -> None:
    assert not is_readable({"version": 7, "fields": {"content": {}}})
    assert not is_readable({"type": "object", "properties": {}})
    assert not is_readable(None)


def test_the_tokenizer_brings_the_description_and_keeps_the_special_tokens_that_it_names() -> None:
    backend = byte_backend()
    special = ["<eos>", "<|tool_call>", "<tool_call|>", "<|channel>", "<channel|>", "<|image|>"]
    backend.add_special_tokens([AddedToken(token, special=True) for token in special])
    template = "{{ tools | tojson if tools }}{% for m in messages %}{{ m.content }}{% endfor %}"
    tokenizer = Tokenizer(
        PreTrainedTokenizerFast(
            tokenizer_object=backend, eos_token="<eos>", chat_template=template, response_template=TEMPLATE
        )
    )
    assert tokenizer.reply_format == FORMAT
    assert {tokenizer.token_text(each) for each in tokenizer.reply_markup(with_tools=True)} == {*special[1:5]}
    assert {tokenizer.token_text(each) for each in tokenizer.reply_markup(with_tools=False)} == {*special[3:5]}
