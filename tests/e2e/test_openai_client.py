"""The official `openai` client against a real server and a real model: both kinds of client, streamed and whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.e2e.calls import Calls, async_calls, sync_calls
from tests.e2e.conftest import MAX_SEQUENCES
from tests.e2e.directories import TextModel
from tests.e2e.server import ServerProcess, until

COMPLETIONS, CHAT = "completions", "chat.completions"
PROMPT = "the miller and the wheel"
MESSAGES = [{"role": "user", "content": "speak of wheels?"}]
GREEDY = {"temperature": 0, "max_tokens": 24}
ASKED: dict[str, dict[str, Any]] = {COMPLETIONS: {"prompt": PROMPT}, CHAT: {"messages": MESSAGES}}
ENDLESS = 8000
"""More tokens than are generated before the test is over."""


@pytest.fixture(scope="module", params=[sync_calls, async_calls], ids=["sync", "async"])
def calls(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[Calls]:
    with request.param(server.url) as made:
        yield made


@pytest.fixture(params=[COMPLETIONS, CHAT])
def asked(request: pytest.FixtureRequest, model: TextModel) -> tuple[str, dict[str, Any]]:
    """An endpoint and the fields that every call to it needs."""
    return request.param, {"model": model.name, **ASKED[request.param]}


Asked = tuple[str, dict[str, Any]]


def text_of(choice: Any) -> str:
    """The text of a choice, whole or in a chunk, of completions or chat."""
    if hasattr(choice, "text"):
        return str(choice.text)
    part = choice.delta if hasattr(choice, "delta") else choice.message
    return part.content or ""


def texts_of(chunks: list[Any], num_choices: int = 1) -> list[str]:
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return ["".join(text_of(choice) for choice in choices if choice.index == index) for index in range(num_choices)]


def ends_of(chunks: list[Any]) -> list[str]:
    return [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]


def test_the_served_model_is_listed(calls: Calls, model: TextModel) -> None:
    assert [(listed.id, listed.object) for listed in calls.models()] == [(model.name, "model")]


def test_a_greedy_completion_is_what_transformers_generates(calls: Calls, model: TextModel) -> None:
    fields = {"model": model.name, "prompt": PROMPT, **GREEDY}
    answer = calls.create(COMPLETIONS, **fields)
    expected = model.continuation(PROMPT, 24)
    assert (answer.object, answer.model) == ("text_completion", model.name)
    assert [(choice.text, choice.finish_reason) for choice in answer.choices] == [(expected, "length")]
    chunks = calls.stream(COMPLETIONS, **fields)
    assert (texts_of(chunks), ends_of(chunks)) == ([expected], ["length"])
    assert len({chunk.id for chunk in chunks}) == 1


def test_several_prompts_are_answered_in_their_order(calls: Calls, model: TextModel) -> None:
    prompts = ["the river", "a wheel turns", "flour"]
    answer = calls.create(COMPLETIONS, model=model.name, prompt=prompts, **GREEDY)
    assert [choice.text for choice in answer.choices] == [model.continuation(prompt, 24) for prompt in prompts]
    as_ids = calls.create(COMPLETIONS, model=model.name, prompt=list(map(model.encode, prompts)), **GREEDY)
    assert [choice.text for choice in as_ids.choices] == [choice.text for choice in answer.choices]


def test_a_chat_is_the_completion_of_its_template(calls: Calls, model: TextModel) -> None:
    fields = {"model": model.name, "messages": MESSAGES, **GREEDY}
    answer = calls.create(CHAT, **fields)
    [choice] = answer.choices
    expected = model.continuation("u: speak of wheels?\n", 24)
    assert answer.object == "chat.completion"
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", expected, "length")
    first, *rest = calls.stream(CHAT, **fields)
    assert (first.object, first.choices[0].delta.role) == ("chat.completion.chunk", "assistant")
    assert [chunk.choices[0].delta.role for chunk in rest] == [None] * len(rest)
    assert (texts_of([first, *rest]), ends_of(rest)) == ([expected], ["length"])


def test_two_choices_differ_and_stream_what_they_are_whole(calls: Calls, asked: Asked) -> None:
    resource, fields = asked
    fields = fields | {"n": 2, "seed": 5, "temperature": 1, "max_tokens": 20}
    texts = [text_of(choice) for choice in calls.create(resource, **fields).choices]
    assert len(set(texts)) == 2
    chunks = calls.stream(resource, **fields)
    assert (texts_of(chunks, 2), ends_of(chunks)) == (texts, ["length", "length"])


@pytest.mark.parametrize("as_list", [False, True], ids=["a string", "a list"])
def test_a_stop_string_cuts_the_text_exactly(calls: Calls, asked: Asked, as_list: bool) -> None:
    resource, fields = asked
    whole = text_of(calls.create(resource, **fields, **GREEDY).choices[0])
    stop = whole[9:13]
    fields = fields | GREEDY | {"stop": ["never in it", stop] if as_list else stop}
    [choice] = calls.create(resource, **fields).choices
    assert (text_of(choice), choice.finish_reason) == (whole[: whole.index(stop)], "stop")
    chunks = calls.stream(resource, **fields)
    assert (texts_of(chunks), ends_of(chunks)) == ([text_of(choice)], ["stop"])


def test_a_seed_repeats_a_text_and_another_seed_does_not(calls: Calls, asked: Asked) -> None:
    resource, fields = asked
    fields = fields | {"temperature": 1, "max_tokens": 24}
    [first, again, other] = [text_of(calls.create(resource, **fields, seed=seed).choices[0]) for seed in (7, 7, 8)]
    assert first == again
    assert first != other
    assert texts_of(calls.stream(resource, **fields, seed=7)) == [first]


def test_usage_counts_tokens_and_is_the_same_streamed(calls: Calls, asked: Asked, model: TextModel) -> None:
    resource, fields = asked
    whole = calls.create(resource, **fields, **GREEDY).usage
    *chunks, last = calls.stream(resource, **fields, **GREEDY, stream_options={"include_usage": True})
    written = PROMPT if resource == COMPLETIONS else "u: speak of wheels?\n"
    assert (whole.prompt_tokens, whole.completion_tokens) == (len(model.encode(written)), 24)
    assert (last.choices, last.usage) == ([], whole)
    assert {chunk.usage for chunk in chunks} == {None}
    assert {chunk.usage for chunk in calls.stream(resource, **fields, **GREEDY)} == {None}


def test_the_logprobs_of_a_completion_are_in_columns(calls: Calls, model: TextModel) -> None:
    fields = {"model": model.name, "prompt": PROMPT, "logprobs": 3, **GREEDY}
    logprobs = calls.create(COMPLETIONS, **fields).choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset) == 24
    assert [len(top) for top in logprobs.top_logprobs] == [3] * 24
    best = [max(top, key=top.__getitem__) for top in logprobs.top_logprobs]
    assert best == logprobs.tokens, "greedy chooses the best"
    assert logprobs.text_offset == sorted(logprobs.text_offset)
    chunks = calls.stream(COMPLETIONS, **fields)
    parts = [choice.logprobs for chunk in chunks for choice in chunk.choices if choice.logprobs]
    assert [token for part in parts for token in part.tokens] == logprobs.tokens
    assert [value for part in parts for value in part.token_logprobs] == logprobs.token_logprobs


def test_the_logprobs_of_a_chat_carry_the_bytes_of_its_text(calls: Calls, model: TextModel) -> None:
    fields = {"model": model.name, "messages": MESSAGES, "logprobs": True, "top_logprobs": 2, **GREEDY}
    [choice] = calls.create(CHAT, **fields).choices
    tokens = choice.logprobs.content
    assert bytes(byte for token in tokens for byte in token.bytes).decode(errors="replace") == choice.message.content
    assert [token.top_logprobs[0].token for token in tokens] == [token.token for token in tokens]
    assert {len(token.top_logprobs) for token in tokens} == {2}
    chunks = calls.stream(CHAT, **fields)
    parts = [choice.logprobs.content for chunk in chunks for choice in chunk.choices if choice.logprobs]
    assert [token for part in parts for token in part] == tokens


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": 100_000}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"extra_body": {"temperatur": 1}}, "temperatur"),
        ({"extra_body": {"response_format": {"type": "json_object"}}}, "response_format"),
    ],
    ids=["more than fits", "out of range", "a misspelt field", "a form that no token would end"],
)
def test_what_cannot_be_done_is_a_bad_request(calls: Calls, asked: Asked, fields: dict[str, Any], param: str) -> None:
    resource, required = asked
    with pytest.raises(openai.BadRequestError) as raised:
        calls.create(resource, **required, **fields)
    assert raised.value.param == param


def test_another_model_is_not_found(calls: Calls, asked: Asked) -> None:
    resource, fields = asked
    with pytest.raises(openai.NotFoundError, match="'nobody' is not served here") as raised:
        calls.stream(resource, **fields | {"model": "nobody"})
    assert raised.value.code == "model_not_found"


def test_more_than_the_queue_takes_is_a_rate_limit(
    calls: Calls, asked: Asked, model: TextModel, server: ServerProcess
) -> None:
    resource, fields = asked
    until(server.is_idle, "the server is idle")
    everyone: dict[str, Any] = {"model": model.name, "prompt": PROMPT, "n": MAX_SEQUENCES, "max_tokens": ENDLESS}
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as crowd:
        with crowd.completions.create(**everyone, stream=True), pytest.raises(openai.RateLimitError) as raised:
            calls.create(resource, **fields)
        assert int(raised.value.response.headers["retry-after"]) > 0
    until(server.is_idle, "everyone has left")
    assert calls.create(resource, **fields, max_tokens=1).usage.completion_tokens == 1


def test_a_server_that_is_not_there_is_a_connection_error(asked: Asked, server: ServerProcess) -> None:
    resource, fields = asked
    nobody = server.url.rsplit(":", 1)[0] + ":1"
    for kind in (sync_calls, async_calls):
        with kind(nobody) as calls, pytest.raises(openai.APIConnectionError):
            calls.create(resource, **fields)
