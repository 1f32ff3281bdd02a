"""What a model may write, and what its reader gets of it: the same streamed and whole, and always readable."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.dictated import END, Dictated, build_tokenizer, dictating
from tests.e2e.server import ServerProcess
from tests.e2e.together import streamed, whole

Json = dict[str, Any]

NAMES = ("get_weather", "llm_version")
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in NAMES]


def call(text: str) -> str:
    return f"<tool_call>\n{text}\n</tool_call>"


WEATHER = call('{"name": "get_weather", "arguments": {"city": "Paris"}}')
CUT = '<tool_call>\n{"name": "get_'

CALLS = {
    WEATHER: '{"city": "Paris"}',
    call('{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}'): '{"city": "Paris"}',
    call('{"name": "get_weather", "parameters": {"city": "Paris"}}'): '{"city": "Paris"}',
    call('{"arguments": {"city": "Paris"}, "name": "get_weather"}'): '{"city": "Paris"}',
    call('{"name": "get_weather"}'): "{}",
}

NO_CALLS = [
    call('{"name": "get\\ud800", "arguments": {"city": "Paris"}}'),
    call('{"arguments": {"city": "Paris"}, "name": "get\\ud800"}'),
    call('{"arguments": {"city": "\\ud800"}, "name": "get_weather"}'),
    call('{"name": "get\\xweather", "arguments": {}}'),
    call('{"name": "get\nweather", "arguments": {}}'),
    call('{"name": "", "arguments": {}}'),
    call('{"name": "llm", "arguments": {{}}'),
    call('{"name": "get_weather", "arguments": [1]}'),
    CUT,
]

BROKEN = {
    call('{"name": "get_weather", "arguments": {"city": "\\ud800"}}'): ('{"city": "', '\\ud800"}}\n</tool_call>'),
    call('{"name": "get_weather", "arguments": {{}}'): ("{", "{}}\n</tool_call>"),
    '<tool_call>{"name": "get_weather", "arguments": {"city": "Pa': ('{"city": "Pa', ""),
}

UNCLOSED = WEATHER.removesuffix("\n</tool_call>") + " Let me see."
THOUGHT = "<think>\nhm</think>\n\nyes"

PART = "日本".encode()[:2]
TWO = f"one{END}two"
FREE: Json = {"ignore_eos": True, "stop_token_ids": [build_tokenizer().eos_token_id]}
"""A reply that says itself what ends it is held to nothing, so that its reader sees whatever a model may write."""

ANSWERS = [*CALLS, *NO_CALLS, *BROKEN, UNCLOSED, THOUGHT, PART, TWO, "plain 日本", "plain"]


@pytest.fixture(scope="module")
def dictated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dictated]:
    with dictating(tmp_path_factory.mktemp("dictated"), ANSWERS) as dictated:
        yield dictated


def chat(dictated: Dictated, answer: str | bytes, **body: Any) -> Json:
    """The only choice of the answer, which is the same streamed and whole."""
    asked = {"messages": dictated.messages(answer), "tools": TOOLS, "max_tokens": 200, **FREE} | body
    answered = whole(dictated.url, "chat/completions", asked)
    assert streamed(dictated.url, "chat/completions", asked) == answered
    [choice] = answered["choices"]
    return choice


@pytest.mark.parametrize("temperature", [0, 2])
def test_each_prompt_has_its_answer(dictated: Dictated, temperature: float) -> None:
    for answer, text in {PART: "\ufffd", TWO: "one", THOUGHT: THOUGHT, "plain 日本": "plain 日本"}.items():
        body = {"prompt": dictated.prompt(answer), "max_tokens": 100, "temperature": temperature}
        [choice] = whole(dictated.url, "completions", body)["choices"]
        assert (choice["text"], choice["finish_reason"]) == (text, "stop")


@pytest.mark.parametrize("answer", CALLS)
def test_a_call_names_an_offered_tool_and_has_an_object(dictated: Dictated, answer: str) -> None:
    choice = chat(dictated, answer)
    assert choice["calls"] == [{"type": "function", "name": "get_weather", "arguments": CALLS[answer]}]
    assert (choice["text"], choice["finish_reason"]) == ("", "tool_calls")


@pytest.mark.parametrize("answer", NO_CALLS)
def test_whatever_else_stands_where_a_call_would_is_content_as_it_stands(dictated: Dictated, answer: str) -> None:
    choice = chat(dictated, answer)
    assert (choice["calls"], choice["text"], choice["finish_reason"]) == ([], answer, "stop")


@pytest.mark.parametrize("answer", BROKEN)
def test_a_call_whose_arguments_break_does_not_end_as_one(dictated: Dictated, answer: str) -> None:
    choice = chat(dictated, answer)
    arguments, text = BROKEN[answer]
    assert choice["calls"] == [{"type": "function", "name": "get_weather", "arguments": arguments}]
    assert (choice["text"], choice["finish_reason"]) == (text, "stop")


@pytest.mark.parametrize("temperature", [0, 2])
@pytest.mark.parametrize("answer", [*CALLS, *NO_CALLS, *BROKEN, UNCLOSED])
def test_whatever_a_model_would_write_its_calls_are_whole_and_valid(
    dictated: Dictated, answer: str, temperature: float
) -> None:
    parameters = {"type": "object", "properties": {"city": {"enum": ["Rome", "Paris"]}}, "required": ["city"]}
    parameters |= {"additionalProperties": False}
    tools = [{"type": "function", "function": {"name": name, "parameters": parameters}} for name in NAMES]
    asked = {"tools": tools, "ignore_eos": False, "stop_token_ids": [], "temperature": temperature, "seed": 3}
    choice = chat(dictated, answer, max_tokens=400, **asked)
    for call in choice["calls"][: None if choice["finish_reason"] == "tool_calls" else -1]:
        assert call["name"] in NAMES
        assert json.loads(call["arguments"])["city"] in ("Rome", "Paris")
    if choice["calls"]:
        assert choice["finish_reason"] in ("tool_calls", "length")


@pytest.mark.parametrize("answer", [*CALLS, *NO_CALLS, *BROKEN, UNCLOSED, THOUGHT])
def test_what_the_server_says_it_takes_back(dictated: Dictated, answer: str) -> None:
    body = {"messages": dictated.messages(answer), "tools": TOOLS, "max_tokens": 200, **FREE}
    said = httpx.post(f"{dictated.url}/v1/chat/completions", json=body).json()["choices"][0]["message"]
    asked = body | {"messages": [*body["messages"], said, *dictated.messages("plain")]}
    assert whole(dictated.url, "chat/completions", asked)["choices"][0]["text"] == "plain"


@pytest.mark.parametrize("seed", range(20))
def test_streams_agree_with_whole_answers_wherever_they_end(dictated: Dictated, seed: int) -> None:
    rng = random.Random(seed)
    answer = rng.choice([*CALLS, *NO_CALLS, *BROKEN, UNCLOSED, THOUGHT])
    body = {
        "messages": dictated.messages(answer),
        "tools": rng.sample(TOOLS, rng.randint(1, 2)),
        "max_tokens": rng.randint(1, 70),
        "n": rng.choice([1, 2]),
        "stop": rng.sample(["Paris", '"}', "ci", "</tool_call>", "\n", "hm<", "name"], rng.randint(0, 2)),
        **FREE,
        "stop_token_ids": [*FREE["stop_token_ids"], *rng.sample(range(256), rng.choice([0, 20]))],
        "skip_special_tokens": rng.random() < 0.5,
        "include_stop_str_in_output": rng.random() < 0.3,
        "logprobs": rng.random() < 0.5,
        "chat_template_kwargs": {"enable_thinking": rng.random() < 0.3},
    }
    assert streamed(dictated.url, "chat/completions", body) == whole(dictated.url, "chat/completions", body)


def test_a_tool_that_is_not_offered_is_not_called(dictated: Dictated) -> None:
    assert chat(dictated, WEATHER, tools=TOOLS[1:])["text"] == WEATHER


def test_text_behind_a_call_that_is_never_closed_is_content(dictated: Dictated) -> None:
    choice = chat(dictated, UNCLOSED)
    assert (len(choice["calls"]), choice["text"], choice["finish_reason"]) == (1, "Let me see.", "tool_calls")


@pytest.mark.parametrize("stop", ["Paris", '"}'])
def test_a_stop_string_within_the_arguments_is_a_stop(dictated: Dictated, stop: str) -> None:
    choice = chat(dictated, WEATHER, stop=[stop])
    assert choice["calls"][0]["arguments"] == '{"city": "Paris'.partition(stop)[0]
    assert choice["finish_reason"] == "stop"


def test_a_stop_string_behind_the_calls_leaves_them_calls(dictated: Dictated) -> None:
    assert chat(dictated, WEATHER, stop=["</tool_call>"])["finish_reason"] == "tool_calls"


def test_an_answer_that_is_cut_within_the_head_of_a_call_shows_nothing_of_it(dictated: Dictated) -> None:
    for num_tokens in (1, 12, 24):
        choice = chat(dictated, WEATHER, max_tokens=num_tokens)
        assert (choice["calls"], choice["text"], choice["finish_reason"]) == ([], "", "length")


def test_an_answer_that_is_cut_within_the_arguments_ends_for_its_length(dictated: Dictated) -> None:
    choice = chat(dictated, WEATHER, max_tokens=len('.{"name": "get_weather", "arguments": {"city'))
    assert choice["calls"][0]["arguments"].startswith('{"')
    assert (choice["text"], choice["finish_reason"]) == ("", "length")


def test_reasoning_that_the_prompt_has_begun_and_the_model_begins_again_begins_once(dictated: Dictated) -> None:
    for begins in (True, False):
        choice = chat(dictated, THOUGHT, chat_template_kwargs={"enable_thinking": begins})
        assert (choice["reasoning"], choice["text"]) == ("hm", "yes")


def test_alternatives_that_are_parts_of_characters_have_names_of_their_own(dictated: Dictated) -> None:
    body = {"prompt": dictated.prompt(PART), "max_tokens": 2, "logprobs": 5, "temperature": 0}
    scored = whole(dictated.url, "completions", body)["choices"][0]["logprobs"]
    assert scored["tokens"] == ["bytes:\\xe6", "bytes:\\x97"]
    for name, logprob, top in zip(scored["tokens"], scored["token_logprobs"], scored["top_logprobs"], strict=True):
        assert list(top) == [name, *(f"bytes:\\x{byte:02x}" for byte in (0xFF, 0xFE, 0xFD, 0xFC))]
        assert top[name] == logprob == max(top.values())


def test_so_they_have_in_an_echoed_prompt(demo_server: ServerProcess) -> None:
    body = {"prompt": "日本", "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 5}
    scored = whole(demo_server.url, "completions", body)["choices"][0]["logprobs"]
    assert scored["tokens"][0].startswith("bytes:\\xe")
    for name, logprob, top in zip(
        scored["tokens"][1:], scored["token_logprobs"][1:], scored["top_logprobs"][1:], strict=True
    ):
        assert len(top) in (5, 6)
        assert top[name] == logprob
