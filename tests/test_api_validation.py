"""Nothing is ignored: what a request says is done, or it is refused by name with what would work."""

from __future__ import annotations

import gzip
import json
import logging
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsStreaming as CompletionParams

from app.api.openai.schemas.chat import ChatCompletionRequest
from app.api.openai.schemas.completion import CompletionRequest
from app.api.request_limits import MAX_STOP_CHARACTERS, RequestLimits
from app.api.wire.body_values import MAX_VALUES
from tests.raw_client import connected, post
from tests.scripted_engine import EOS, ScriptedEngine, ids, listening, make_app, started

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HI = [{"role": "user", "content": "hi"}]


async def send(path: str, **body: Any) -> tuple[int, dict[str, Any], ScriptedEngine]:
    """Status, error object (or answer) and engine, for a body that is complete but for `body`."""
    engine = ScriptedEngine(ids("k"))
    whole = ({"messages": HI} if path == CHAT else {"prompt": "a"}) | body
    async with started(make_app(engine)) as client:
        answer = await client.post(path, json=whole)
    result: dict[str, Any] = answer.json()
    return answer.status_code, result.get("error", result), engine


def nested(depth: int) -> Any:
    """Two values in each of two values, and so on."""
    return [nested(depth - 1)] * 2 if depth else "x"


TOOL = {"type": "function", "function": {"name": "f"}}
CALL = {"type": "function", "id": "1", "function": {"name": "f", "arguments": "{}"}}


async def send_text(text: str | bytes, content_type: str = "application/json") -> tuple[int, dict[str, Any]]:
    async with started(make_app(ScriptedEngine(), limits=RequestLimits(max_body_bytes=20_000))) as client:
        answer = await client.post(COMPLETIONS, content=text, headers={"content-type": content_type})
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error


def test_every_field_of_the_openai_client_is_done_or_refused_by_name() -> None:
    for params, model in ((ChatParams, ChatCompletionRequest), (CompletionParams, CompletionRequest)):
        assert set(params.__annotations__) <= {*model.model_fields, *model.not_done}


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (CHAT, "functions", [{"name": "f"}]),
        (CHAT, "audio", {"voice": "alloy"}),
        (CHAT, "modalities", ["text", "audio"]),
        (CHAT, "prediction", {"type": "content", "content": "x"}),
        (CHAT, "reasoning_effort", "low"),
        (CHAT, "web_search_options", {}),
        (CHAT, "verbosity", "low"),
        (CHAT, "store", True),
        (CHAT, "service_tier", "flex"),
        (COMPLETIONS, "suffix", "end"),
        (COMPLETIONS, "best_of", 2),
    ],
)
async def test_a_known_field_that_is_not_done_is_refused_by_name(path: str, field: str, value: Any) -> None:
    status, error, _ = await send(path, **{field: value})
    assert (status, error["param"], error["code"]) == (400, field, "unsupported_parameter")
    assert f"'{field}'" in error["message"]


async def test_what_asks_for_nothing_is_accepted() -> None:
    status, _, _ = await send(
        CHAT,
        user="me",
        metadata={"a": "b"},
        store=False,
        service_tier="auto",
        response_format={"type": "text"},
        modalities=["text"],
        tools=[],
        tool_choice="none",
        parallel_tool_calls=True,
        temperature=None,
        audio=None,
        stream_options=None,
    )
    assert status == 200


@pytest.mark.parametrize(
    ("path", "field", "nearest"),
    [(COMPLETIONS, "max_token", "max_tokens"), (CHAT, "temprature", "temperature"), (CHAT, "prompt", "")],
)
async def test_an_unknown_field_is_refused_with_the_nearest_known_one(path: str, field: str, nearest: str) -> None:
    status, error, _ = await send(path, **{field: 3})
    assert (status, error["param"], error["code"]) == (400, field, "unknown_parameter")
    assert (f"'{nearest}'" in error["message"]) == bool(nearest)


@pytest.mark.parametrize(
    "body",
    [
        {"x" * 10_000: 1},
        {"logit_bias": {"x" * 10_000: 1}},
        {"temperature": "x" * 10_000},
        {"model": "x" * 1_000_000},
        {"x" * 10_000 + str(number): 1 for number in range(100)},
        {"messages": [{"role": "user", "content": [{"type": "x" * 10_000}]}]},
        {"messages": [{"role": "x" * 10_000, "content": "hi"}]},
        {"messages": [{"role": "user", "content": "refuse " + "x" * 10_000}]},
        {"tools": [{"type": "function", "function": {"name": "x" * 10_000}}]},
    ],
)
async def test_what_a_client_sent_is_neither_sent_back_nor_logged_whole(
    body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        status, error, _ = await send(CHAT if "messages" in body or "tools" in body else COMPLETIONS, **body)
    assert status in (400, 404)
    assert len(str(error)) < 2500
    assert all(len(str(vars(record))) < 5000 for record in caplog.records)


async def test_neither_the_path_nor_the_encoding_of_a_request_is_sent_back_whole() -> None:
    async with started(make_app(ScriptedEngine())) as client:
        nowhere = await client.post("/v1/" + "x" * 10_000)
        packed = await client.post(COMPLETIONS, json={"prompt": "a"}, headers={"Content-Encoding": "x" * 10_000})
        unknown = await client.get("/v1/models/" + "x" * 10_000)
    assert (nowhere.status_code, packed.status_code, unknown.status_code) == (404, 415, 404)
    assert max(map(len, (nowhere.text, packed.text, unknown.text))) < 500


@pytest.mark.parametrize(
    ("path", "changes", "param"),
    [
        (COMPLETIONS, {"temperature": 2.1}, "temperature"),
        (COMPLETIONS, {"temperature": "hot"}, "temperature"),
        (COMPLETIONS, {"temperature": True}, "temperature"),
        (COMPLETIONS, {"top_p": -0.1}, "top_p"),
        (COMPLETIONS, {"top_k": -2}, "top_k"),
        (COMPLETIONS, {"min_p": 1.5}, "min_p"),
        (COMPLETIONS, {"presence_penalty": 2.5}, "presence_penalty"),
        (COMPLETIONS, {"frequency_penalty": -2.5}, "frequency_penalty"),
        (COMPLETIONS, {"repetition_penalty": 0}, "repetition_penalty"),
        (COMPLETIONS, {"n": 0}, "n"),
        (COMPLETIONS, {"n": 1.5}, "n"),
        (COMPLETIONS, {"max_tokens": 0}, "max_tokens"),
        (COMPLETIONS, {"max_tokens": 10**30}, "max_tokens"),
        (COMPLETIONS, {"cache_salt": "x" * 257}, "cache_salt"),
        (COMPLETIONS, {"n": 64, "logit_bias": dict.fromkeys(map(str, range(2000)), 1)}, "logit_bias"),
        (COMPLETIONS, {"n": 64, "stop_token_ids": [1] * 2000}, "stop_token_ids"),
        (COMPLETIONS, {"seed": 2**63}, "seed"),
        (COMPLETIONS, {"top_k": 10**30}, "top_k"),
        (COMPLETIONS, {"logprobs": 21}, "logprobs"),
        (COMPLETIONS, {"logprobs": True}, "logprobs"),
        (COMPLETIONS, {"stop": ["a"] * 17}, "stop"),
        (COMPLETIONS, {"stop": ["a", ""]}, "stop[1]"),
        (COMPLETIONS, {"stop": 5}, "stop"),
        (COMPLETIONS, {"stop": "a", "min_tokens": 3}, "min_tokens"),
        (COMPLETIONS, {"min_tokens": 17}, "min_tokens"),
        (COMPLETIONS, {"stop_token_ids": [260]}, "stop_token_ids"),
        (COMPLETIONS, {"stop_token_ids": [-1]}, "stop_token_ids"),
        (COMPLETIONS, {"logit_bias": {"260": 1}}, "logit_bias"),
        (COMPLETIONS, {"logit_bias": {"a": 1}}, "logit_bias.a"),
        (COMPLETIONS, {"logit_bias": {"1": 101}}, "logit_bias[1]"),
        (COMPLETIONS, {"stream_options": {"include_usage": True}}, "stream_options"),
        (COMPLETIONS, {"stream": True, "stream_options": {"usage": True}}, "stream_options.usage"),
        (
            COMPLETIONS,
            {"stream": True, "stream_options": {"continuous_usage_stats": True}},
            "stream_options.continuous_usage_stats",
        ),
        (COMPLETIONS, {"stream": True, "prompt_logprobs": 1}, "prompt_logprobs"),
        (COMPLETIONS, {"prompt": ""}, "prompt"),
        (COMPLETIONS, {"prompt": []}, "prompt"),
        (COMPLETIONS, {"prompt": [[1], []]}, "prompt"),
        (COMPLETIONS, {"prompt": ["a", 1]}, "prompt"),
        (COMPLETIONS, {"prompt": [True]}, "prompt"),
        (COMPLETIONS, {"prompt": [0, 260]}, "prompt"),
        (COMPLETIONS, {"prompt": [[0], [-1]]}, "prompt"),
        (COMPLETIONS, {"prompt": None}, "prompt"),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": "hi"}, "messages"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content"),
        (CHAT, {"messages": [*HI, {"role": "robot", "content": "x"}]}, "messages[1].role"),
        (CHAT, {"messages": [*HI, {"role": "function", "content": "x"}]}, "messages[1].role"),
        (CHAT, {"messages": [*HI, {"role": "tool", "tool_call_id": "1"}]}, "messages[1].content"),
        (CHAT, {"messages": [{"role": "user", "content": "x", "tool_call_id": "1"}]}, "messages[0].tool_call_id"),
        (CHAT, {"messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}]}, "messages[0].tool_calls"),
        (
            CHAT,
            {"messages": [{"role": "assistant", "tool_calls": [CALL | {"function": {"name": "f", "arguments": 1}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        (CHAT, {"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        (CHAT, {"messages": [{"role": "user", "content": "x", "refusal": "no"}]}, "messages[0].refusal"),
        (CHAT, {"messages": [{"role": "user", "content": "x", "reasoning": "hm"}]}, "messages[0].reasoning"),
        (CHAT, {"tools": [TOOL]}, "tools"),
        (CHAT, {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        (CHAT, {"tools": [{"type": "code"}]}, "tools[0].type"),
        (CHAT, {"tool_choice": "auto"}, "tool_choice"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        (CHAT, {"messages": [{"role": "user", "content": "x", "mood": "y"}]}, "messages[0].mood"),
        (CHAT, {"max_tokens": 0}, "max_tokens"),
        (CHAT, {"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        (CHAT, {"top_logprobs": 3}, "top_logprobs"),
        (CHAT, {"logprobs": 3}, "logprobs"),
        (CHAT, {"chat_template_kwargs": {"tools": []}}, "chat_template_kwargs.tools"),
        (CHAT, {"continue_final_message": True, "add_generation_prompt": True}, "add_generation_prompt"),
    ],
)
async def test_a_wrong_value_is_refused_with_the_path_of_its_field(path: str, changes: Any, param: str) -> None:
    status, error, engine = await send(path, **changes)
    assert (status, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert engine.submissions == []


async def test_all_fields_at_fault_are_named_in_one_answer() -> None:
    status, error, engine = await send(
        CHAT,
        store=True,
        reasoning_effort="low",
        verbosity="low",
        temprature=1,
        temperature=3,
        stop=[""],
        messages=[{"role": "robot", "content": "x"}, {"role": "user", "content": "x", "mood": "y"}],
    )
    assert (status, error["param"], error["code"]) == (400, "store", "unsupported_parameter")
    for named in ("store", "reasoning_effort", "verbosity", "temprature", "temperature", "stop[0]"):
        assert f"'{named}'" in error["message"]
    assert "'messages[0].role'" in error["message"]
    assert "'mood'" in error["message"]
    assert engine.submissions == []


async def test_fields_that_disagree_are_named_beside_those_that_are_not_done() -> None:
    _, error, _ = await send(COMPLETIONS, suffix="end", best_of=2, min_tokens=1, stop="a", max_tokens=0)
    for named in ("suffix", "best_of", "min_tokens", "max_tokens"):
        assert f"'{named}'" in error["message"]


async def test_fields_beyond_the_servers_limits_are_named_together() -> None:
    _, error, _ = await send(COMPLETIONS, n=129, stop=["a"] * 17, logprobs=21, prompt_logprobs=22)
    for named in ("n = 129", "'stop'", "'logprobs'", "'prompt_logprobs'"):
        assert named in error["message"]


async def test_tokens_that_the_model_does_not_have_are_named_by_field() -> None:
    _, error, _ = await send(COMPLETIONS, prompt=[260], stop_token_ids=[300], logit_bias={"301": 1})
    for field, token_id in (("prompt", 260), ("stop_token_ids", 300), ("logit_bias", 301)):
        assert f"'{field}' has the token id {token_id}" in error["message"]


async def test_what_the_fields_the_limits_and_the_model_do_not_allow_is_named_in_one_answer() -> None:
    status, error, engine = await send(
        COMPLETIONS,
        prompt=[[97] * 40, [260]],
        n=65,
        stop=["a"] * 17,
        stop_token_ids=[300],
        logit_bias={"301": 1},
        max_tokens=60,
        logprobs=21,
    )
    assert (status, error["param"], engine.submissions) == (400, "prompt", [])
    assert error["message"].startswith("7 faults: ")
    for named in ("130 sequences", "'stop' has 17", "'logprobs' is 21", "id 300", "id 301", "id 260", "has 40 tokens"):
        assert named in error["message"]


async def test_tools_that_the_template_has_not_are_named_beside_the_rest() -> None:
    _, error, _ = await send(CHAT, tools=[TOOL], n=129, stop_token_ids=[300], max_tokens=1000)
    for named in ("n = 129", "chat template does not show tools", "'stop_token_ids'", "max_tokens is 1000"):
        assert named in error["message"]


async def test_a_conversation_that_the_template_refuses_does_not_hide_other_faults() -> None:
    _, error, _ = await send(CHAT, messages=[{"role": "user", "content": "refuse me"}], n=129)
    assert "n = 129" in error["message"]
    assert "(2) " in error["message"]


@pytest.mark.parametrize("padding", [{}, {"metadata": {"x": "y" * 40_000}}], ids=["small", "large"])
@pytest.mark.parametrize(
    ("path", "faulty"),
    [
        (COMPLETIONS, {"temperature": 3}),
        (COMPLETIONS, {"prompt": None}),
        (COMPLETIONS, {"prompt": 5}),
        (CHAT, {"messages": []}),
        (CHAT, {"messages": [{"role": "robot", "content": "x"}]}),
        (CHAT, {"mood": 1}),
        (CHAT, {"stream_options": {"include_usage": 1}}),
    ],
)
async def test_where_a_field_is_wrong_the_others_are_held_against_the_limits_too(
    path: str, faulty: dict[str, Any], padding: dict[str, Any]
) -> None:
    status, error, _ = await send(path, **faulty, **padding, n=129, stop=["a"] * 17, stop_token_ids=[300])
    [field] = faulty
    assert (status, error["param"].split(".")[0].split("[")[0]) == (400, field)
    for named in (f"(1) '{field}", "n = 129", "'stop' has 17 strings", "'stop_token_ids' has the token id 300"):
        assert named in error["message"].replace("messages[0].role", "messages")


async def test_a_field_that_is_wrong_is_not_held_against_the_limits() -> None:
    _, error, _ = await send(COMPLETIONS, n=0, stop=["a"] * 17 + [5])
    assert error["message"].startswith("2 faults: ")


async def test_a_wrong_model_comes_first_and_alone() -> None:
    status, error, _ = await send(COMPLETIONS, model="other", n=129, stop_token_ids=[300])
    assert (status, error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(("seed", "bound"), [(2**64, 2**63), (-(2**64), -(2**63))])
async def test_a_bound_that_no_float_holds_is_shown_as_it_is(seed: int, bound: int) -> None:
    _, error, _ = await send(COMPLETIONS, seed=seed)
    assert f" {bound}, got {seed}." in error["message"]


async def test_a_part_that_is_no_text_is_named_once() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    _, error, _ = await send(CHAT, messages=[{"role": "user", "content": [image]}])
    assert error["param"] == "messages[0].content[0].type"
    assert error["message"] == (
        "Content parts of type 'image_url' are not supported by this server; send 'text' parts."
    )


async def test_arguments_of_a_call_may_be_an_object_or_a_text_says_their_refusal() -> None:
    call = CALL | {"function": {"name": "f", "arguments": 3}}
    _, error, _ = await send(CHAT, messages=[*HI, {"role": "assistant", "tool_calls": [call]}])
    assert error["message"] == (
        "The arguments of a call must be a JSON object, or a string with the text of one, not 3."
    )


async def test_of_very_many_faults_the_first_are_described() -> None:
    status, error, _ = await send(CHAT, messages=[{"role": "robot", "content": "x"}] * 1000)
    assert (status, error["param"]) == (400, "messages[0].role")
    assert error["message"].startswith("More than 20 faults: ")
    assert len(error["message"]) < 5000


async def test_the_message_says_what_would_work() -> None:
    _, error, _ = await send(COMPLETIONS, temperature=2.5)
    assert error["message"] == "'temperature': Input should be less than or equal to 2, got 2.5."


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "",
        "[1]",
        '"text"',
        '{"prompt": "a", "temperature": NaN}',
        '{"prompt": "a", "temperature": Infinity}',
        '{"prompt": "\\ud800"}',
        '{"\\ud800": 1}',
        '{"prompt": "a", "seed": ' + "9" * 5000 + "}",
        '{"prompt": ' + "[" * 5000 + "]" * 5000 + "}",
        b'{"prompt": "\xff"}',
        '{"prompt": "a"}'.encode("utf-16"),
    ],
)
async def test_a_body_that_is_no_json_object_is_a_400(text: str | bytes) -> None:
    status, error = await send_text(text)
    assert (status, error["code"]) in {(400, "invalid_json"), (400, "invalid_body")}


async def test_a_body_of_another_content_type_is_a_400_that_names_the_right_one() -> None:
    status, error = await send_text(json.dumps({"prompt": "a"}), "text/plain")
    assert status == 400
    assert "application/json" in error["message"]


async def test_a_body_larger_than_the_limit_is_a_413() -> None:
    status, error = await send_text(json.dumps({"prompt": "a" * 30_000}))
    assert (status, error["message"]) == (413, "The body is larger than the 20000 bytes allowed.")


async def test_a_body_that_says_how_large_it_is_need_not_be_sent_to_be_refused() -> None:
    async with listening(make_app(ScriptedEngine())) as (url, _), connected(url) as client:
        await client.send(post(b"", length=2**40))
        status, _, answer = await client.answer()
    assert (status, answer["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
async def test_a_text_that_is_surely_too_long_is_refused_before_it_is_tokenized(path: str) -> None:
    text = "a" * 1_000_000
    body = {"messages": [{"role": "user", "content": text}]} if path == CHAT else {"prompt": text}
    status, error, engine = await send(path, **body)
    assert (status, error["code"]) == (400, "context_length_exceeded")
    assert "at least" in error["message"]
    assert engine.submissions == []


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (CHAT, "messages", [1] * (MAX_VALUES + 1)),
        (CHAT, "messages", [{"role": "user", "content": [{"type": "text", "text": "x"}] * (MAX_VALUES // 2)}]),
        (CHAT, "tools", nested(15)),
        (CHAT, "metadata", {str(number): 1 for number in range(MAX_VALUES + 1)}),
        (COMPLETIONS, "stop", [""] * (MAX_VALUES + 1)),
        (COMPLETIONS, "prompt", ["x"] * (MAX_VALUES + 1)),
        (COMPLETIONS, "prompt", [[1]] * (MAX_VALUES + 1)),
    ],
)
async def test_a_body_of_more_values_than_anyone_needs_is_refused_before_they_are_looked_at(
    path: str, field: str, value: Any
) -> None:
    status, error, _ = await send(path, **{field: value})
    assert (status, error["param"], error["code"]) == (400, field, "too_many_values")


@pytest.mark.parametrize(
    "body",
    [
        '{"prompt": "a", "stop": [' + "[]," * 500_000 + "[]]}",
        '{"prompt": "a", "metadata": {' + ",".join(f'"{number}":1' for number in range(200_000)) + "}}",
        "{" + ",".join(f'"{number}":1' for number in range(200_000)) + "}",
        '{"prompt": [' + '"a",' * 500_000 + '"a"]}',
    ],
    ids=["lists", "names", "fields", "prompts"],
)
async def test_a_body_of_very_many_values_is_refused_before_it_is_parsed(
    body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("app.api.wire.body.from_json")
    async with started(make_app(ScriptedEngine())) as client:
        answer = await client.post(COMPLETIONS, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "too_many_values")


@pytest.mark.parametrize(
    "arguments",
    [
        json.dumps({"a": [{}] * (MAX_VALUES + 1)}),
        json.dumps({"a": [1] * (MAX_VALUES + 2)}),
        json.dumps({"a": nested(15)}),
        json.dumps({str(number): 1 for number in range(MAX_VALUES + 1)}),
    ],
    ids=["objects", "numbers", "nested", "names"],
)
async def test_values_in_the_text_of_a_calls_arguments_are_counted(arguments: str) -> None:
    call = CALL | {"function": {"name": "f", "arguments": arguments}}
    status, error, _ = await send(CHAT, messages=[*HI, {"role": "assistant", "tool_calls": [call]}, *HI])
    assert (status, error["param"], error["code"]) == (400, "messages", "too_many_values")


async def test_text_in_a_calls_arguments_does_not_count_however_it_is_written() -> None:
    text = 'f(["a"], {b: 1}, "c", [1, 2]);\n' * 5_000
    call = CALL | {"function": {"name": "f", "arguments": json.dumps({"code": text})}}
    status, _, _ = await send(CHAT, messages=[*HI, {"role": "assistant", "tool_calls": [call]}, *HI])
    assert status == 200


async def test_what_several_fields_have_is_counted_together_and_a_prompts_token_ids_are_not() -> None:
    half = [1] * (MAX_VALUES // 2 + 1)
    _, error, _ = await send(COMPLETIONS, stop_token_ids=half, prompt=half * 2)
    assert error["code"] == "context_length_exceeded"
    _, error, _ = await send(CHAT, stop_token_ids=half, logit_bias=dict.fromkeys(map(str, range(len(half))), 1))
    assert (error["param"], error["code"]) == ("logit_bias", "too_many_values")


async def test_stop_strings_are_short_since_each_sequence_keeps_what_finds_them() -> None:
    most = MAX_STOP_CHARACTERS // 2
    status, _, _ = await send(COMPLETIONS, stop=["x" * most, "y" * most])
    assert status == 200
    status, error, _ = await send(COMPLETIONS, stop=["x" * most, "y" * most, "z"])
    assert (status, error["param"]) == (400, "stop")


async def test_a_body_that_is_packed_is_refused_by_the_name_of_its_encoding() -> None:
    packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    async with started(make_app(ScriptedEngine())) as client:
        answer = await client.post("/v1/completions", content=gzip.compress(b'{"prompt": "a"}'), headers=packed)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_encoding")
    assert "gzip" in answer.json()["error"]["message"]


async def test_the_sampling_fields_reach_the_engine() -> None:
    *_, engine = await send(
        COMPLETIONS,
        temperature=0,
        top_p=0.9,
        top_k=-1,
        min_p=0.1,
        presence_penalty=1,
        frequency_penalty=-1,
        repetition_penalty=1.2,
        logit_bias={"7": -100, "8": 5},
        min_tokens=2,
        max_tokens=9,
        stop_token_ids=[5],
        seed=11,
        logprobs=3,
    )
    params = engine.submissions[0].params
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (0, 0.9, 0, 0.1)
    assert (params.presence_penalty, params.frequency_penalty, params.repetition_penalty) == (1, -1, 1.2)
    assert params.logit_bias == ((7, -100), (8, 5))
    assert (params.min_tokens, params.max_tokens, params.seed, params.logprobs) == (2, 9, 11, 3)
    assert params.stop_token_ids == {5, EOS}


async def test_end_tokens_are_left_to_who_ignores_them() -> None:
    *_, engine = await send(COMPLETIONS, ignore_eos=True)
    assert engine.submissions[0].params.stop_token_ids == frozenset()


async def test_the_extremes_of_sampling_are_greedy() -> None:
    *_, cold = await send(COMPLETIONS, temperature=1e-300)
    *_, narrow = await send(COMPLETIONS, top_p=0)
    assert cold.submissions[0].params.temperature == 0
    assert (narrow.submissions[0].params.top_k, narrow.submissions[0].params.top_p) == (1, 1.0)
