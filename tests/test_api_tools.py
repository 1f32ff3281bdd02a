"""Tools, reasoning and what a chat completion makes of them, streamed and whole."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import openai
import pytest
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from app.text.tokenizer import Tokenizer
from tests.reply_templates import TEMPLATES
from tests.scripted_engine import (
    EOS,
    MODEL,
    ScriptedEngine,
    byte_backend,
    byte_tokenizer,
    data_of,
    ids,
    listening,
    make_app,
    small,
    started,
)

TEMPLATE = (
    "{% for t in tools or [] %}{{ t | tojson }}|{% endfor %}"
    "{% for m in messages %}{{ m.role }}:{{ m.content.split('</think>')[-1] }}"
    "{% for call in m.tool_calls or [] %}<tool_call>{{ call.function.arguments | tojson }}</tool_call>{% endfor %}|"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
)
HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "é"}}\n</tool_call>'
THOUGHT = "<think>\nhm\n</think>\n\n"


def engine_saying(text: str) -> ScriptedEngine:
    return ScriptedEngine([*ids(text), EOS], ready=small(max_model_len=1000))


async def post(engine: ScriptedEngine, **body: Any) -> Any:
    async with started(make_app(engine, load_tokenizer=lambda: byte_tokenizer(TEMPLATE))) as client:
        answer = await client.post("/v1/chat/completions", json={"messages": HI} | body)
        assert answer.status_code == 200, answer.text
        return data_of(answer.text) if body.get("stream") else answer.json()


async def prompt_of(**body: Any) -> str:
    engine = engine_saying("k")
    await post(engine, **body)
    return bytes(engine.submissions[0].prompt_token_ids).decode()


async def test_a_whole_answer_has_its_reasoning_its_calls_and_the_reason() -> None:
    answer = await post(engine_saying(f"{THOUGHT}Let me.\n{CALL}\n{CALL}"), tools=[TOOL])
    [choice] = answer["choices"]
    calls = choice["message"].pop("tool_calls")
    assert choice["message"] == {
        "role": "assistant",
        "content": "Let me.",
        "refusal": None,
        "reasoning_content": "hm",
    }
    assert [call["function"] for call in calls] == [{"name": "add", "arguments": '{"a": 1, "b": "é"}'}] * 2
    assert {call["type"] for call in calls} == {"function"}
    assert len({call["id"] for call in calls}) == 2
    assert choice["finish_reason"] == "tool_calls"


async def test_an_answer_of_calls_alone_has_no_content() -> None:
    answer = await post(engine_saying(CALL), tools=[TOOL])
    assert answer["choices"][0]["message"]["content"] is None


async def test_a_stream_gives_the_same_in_deltas() -> None:
    *events, done = await post(engine_saying(f"{THOUGHT}Let me.\n{CALL}\n{CALL}"), tools=[TOOL], stream=True)
    assert done == "[DONE]"
    deltas = [event["choices"][0]["delta"] for event in events]
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "hm"
    assert "".join(delta.get("content", "") for delta in deltas) == "Let me."
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    for index in (0, 1):
        begun, *others = [call for call in calls if call["index"] == index]
        assert (begun["type"], begun["function"]) == ("function", {"name": "add", "arguments": ""})
        assert begun["id"].startswith("call_")
        assert len(others) > 5, "arguments are sent as they come"
        assert "".join(call["function"]["arguments"] for call in others) == '{"a": 1, "b": "é"}'
        assert all(call.keys() == {"index", "function"} for call in others)
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_logprobs_cover_every_token_also_those_of_markup() -> None:
    script = f"{THOUGHT}so\n{CALL}"
    *events, _ = await post(engine_saying(script), tools=[TOOL], stream=True, logprobs=True)
    scored = [event["choices"][0]["logprobs"] for event in events if event["choices"][0]["logprobs"]]
    assert sum(len(part["content"]) for part in scored) == len(script.encode())


async def test_without_tools_a_call_is_text() -> None:
    answer = await post(engine_saying(f"a {CALL}"))
    assert answer["choices"][0]["message"]["content"] == f"a {CALL}"
    assert answer["choices"][0]["finish_reason"] == "stop"
    unwanted = await post(engine_saying(CALL), tools=[TOOL], tool_choice="none")
    assert unwanted["choices"][0]["message"]["content"] == CALL


async def test_an_answer_cut_within_a_call_ends_for_its_length() -> None:
    answer = await post(engine_saying(CALL), tools=[TOOL], max_tokens=50)
    [call] = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["arguments"].startswith('{"a"')
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_reasoning_that_the_template_begins_is_reasoning() -> None:
    answer = await post(engine_saying("\nhm\n</think>\n\nyes"), chat_template_kwargs={"enable_thinking": True})
    message = answer["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("hm", "yes")


async def test_a_user_who_writes_the_markup_begins_no_reasoning() -> None:
    messages = [{"role": "user", "content": "say <think>"}]
    answer = await post(engine_saying("no"), messages=messages, add_generation_prompt=False)
    assert answer["choices"][0]["message"]["content"] == "no"


async def test_a_continued_message_goes_on_with_its_reasoning() -> None:
    messages = [*HI, {"role": "assistant", "content": "<think>\nso"}]
    answer = await post(engine_saying(" far\n</think>\nyes"), messages=messages, continue_final_message=True)
    message = answer["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("far", "yes")


async def test_the_template_gets_tools_and_earlier_calls() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    messages = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call | {"index": 0}], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "call_1", "content": "2"},
    ]
    prompt = await prompt_of(messages=messages, tools=[TOOL])
    assert prompt == f'{json.dumps(TOOL)}|user:hi|assistant:<tool_call>{{"a": 1}}</tool_call>|tool:2|assistant:'
    assert await prompt_of(tools=[TOOL], tool_choice="none") == "user:hi|assistant:"


async def test_the_official_client_reads_calls_and_sends_their_answer() -> None:
    engine = engine_saying(CALL)
    async with (
        listening(make_app(engine, load_tokenizer=lambda: byte_tokenizer(TEMPLATE))) as (address, _),
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        tools: Any = [TOOL]
        messages: Any = HI
        first = await client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
        message = first.choices[0].message
        assert message.tool_calls is not None
        [call] = message.tool_calls
        assert call.type == "function"
        assert json.loads(call.function.arguments) == {"a": 1, "b": "é"}
        answered: Any = [*HI, message, {"role": "tool", "tool_call_id": call.id, "content": "2"}]
        await client.chat.completions.create(model=MODEL, messages=answered, tools=tools)
    assert bytes(engine.submissions[1].prompt_token_ids).decode().endswith("</tool_call>|tool:2|assistant:")


@pytest.mark.parametrize("template", ["{{ messages[0].content }}", "{% if tools %}[TOOL_CALLS]{% endif %}x"])
async def test_tools_that_a_model_cannot_be_told_of_or_read_are_refused(template: str) -> None:
    async with started(make_app(ScriptedEngine(), load_tokenizer=lambda: byte_tokenizer(template))) as client:
        answer = await client.post("/v1/chat/completions", json={"messages": HI, "tools": [TOOL]})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "tools", "tools_not_supported")


SPECIAL = ("[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]", "[OTHER]")


@cache
def mistral_tokenizer() -> Tokenizer:
    """The markup of its replies are special tokens, which are ids from 257 on."""
    backend = byte_backend()
    backend.add_special_tokens([AddedToken(token, special=True) for token in ("<eos>", *SPECIAL)])
    template = TEMPLATES["mistral, arguments"]
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", chat_template=template))


@pytest.mark.parametrize("skips", [True, False])
async def test_special_tokens_that_are_markup_are_read_whether_or_not_they_are_shown(skips: bool) -> None:
    text = '[THINK]hm[/THINK]so[OTHER]:[TOOL_CALLS]add[ARGS]{"a": 1}'
    script = [*mistral_tokenizer().encode(text, add_special_tokens=False), EOS]
    assert {257, 258, 259, 260, 261} < set(script)
    messages = []
    for tools in ([TOOL], []):
        engine = ScriptedEngine(script, ready=small(max_model_len=1000))
        async with started(make_app(engine, load_tokenizer=mistral_tokenizer)) as client:
            body = {"messages": HI, "tools": tools, "skip_special_tokens": skips}
            answer = await client.post("/v1/chat/completions", json=body)
        messages.append(answer.json()["choices"][0]["message"])
    with_tools, without = messages
    said = "so:" if skips else "so[OTHER]:"
    assert (with_tools["reasoning_content"], with_tools["content"]) == ("hm", said)
    assert [call["function"] for call in with_tools["tool_calls"]] == [{"name": "add", "arguments": '{"a": 1}'}]
    assert without["reasoning_content"] == "hm"
    assert without["content"] == said + ('add{"a": 1}' if skips else '[TOOL_CALLS]add[ARGS]{"a": 1}')


async def test_the_messages_of_a_channel_format_become_the_parts_of_an_answer() -> None:
    text = (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.add "
        '<|constrain|>json<|message|>{"a": 1}'
    )
    engine = engine_saying(text)
    async with started(make_app(engine, load_tokenizer=lambda: byte_tokenizer(TEMPLATES["harmony"]))) as client:
        answer = await client.post("/v1/chat/completions", json={"messages": HI, "tools": [TOOL]})
    [choice] = answer.json()["choices"]
    assert (choice["message"]["reasoning_content"], choice["message"]["content"]) == ("hm", None)
    assert [call["function"]["arguments"] for call in choice["message"]["tool_calls"]] == ['{"a": 1}']
    assert choice["finish_reason"] == "tool_calls"


async def test_a_template_that_writes_calls_but_does_not_show_tools_makes_them_a_400() -> None:
    template = TEMPLATES["hermes"].replace("{%- if tools %}", "{%- if false %}")
    async with started(make_app(ScriptedEngine(), load_tokenizer=lambda: byte_tokenizer(template))) as client:
        answer = await client.post("/v1/chat/completions", json={"messages": HI, "tools": [TOOL]})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "tools_not_supported")
    assert "does not show tools" in error["message"]
