"""`POST /v1/completions`: prompts in, text out, streamed or whole."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.request_limits import RequestLimits
from app.engine.health import Overloaded
from app.messages import FinishReason
from tests.scripted_engine import EOS, ScriptedEngine, data_of, ids, make_app, small, started


async def complete(engine: ScriptedEngine, **body: Any) -> dict[str, Any]:
    async with started(make_app(engine)) as client:
        answer = await client.post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result


async def stream(engine: ScriptedEngine, **body: Any) -> list[Any]:
    async with started(make_app(engine)) as client:
        answer = await client.post("/v1/completions", json=body | {"stream": True})
        assert answer.status_code == 200, answer.text
        return data_of(answer.text)


def texts(events: list[Any], index: int = 0) -> str:
    choices = [choice for event in events[:-1] for choice in event["choices"]]
    return "".join(choice["text"] for choice in choices if choice["index"] == index)


async def test_a_completion_has_the_fields_of_openai() -> None:
    answer = await complete(ScriptedEngine(ids("hello")), prompt="say", model="tiny", max_tokens=5)
    assert answer.pop("id").startswith("cmpl-")
    assert isinstance(answer.pop("created"), int)
    assert answer == {
        "object": "text_completion",
        "model": "tiny",
        "choices": [{"index": 0, "text": "hello", "logprobs": None, "finish_reason": "length"}],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 5,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 1},
        },
    }


async def test_a_stream_gives_each_token_its_chunk_and_ends_with_a_reason_and_done() -> None:
    events = await stream(ScriptedEngine(ids("abc")), prompt="x")
    assert events[-1] == "[DONE]"
    assert [event["choices"][0]["text"] for event in events[:-1]] == ["a", "b", "c", ""]
    assert [event["choices"][0]["finish_reason"] for event in events[:-1]] == [None, None, None, "stop"]
    assert len({event["id"] for event in events[:-1]}) == 1
    assert all("usage" not in event for event in events[:-1])


async def test_usage_comes_last_in_a_stream_that_asks_for_it() -> None:
    events = await stream(ScriptedEngine(ids("abc")), prompt="x", stream_options={"include_usage": True})
    *chunks, usage, done = events
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 3
    assert all(chunk["usage"] is None for chunk in chunks)


async def test_a_stream_tells_its_usage_so_far_with_every_event_if_asked() -> None:
    """The letter é is two tokens, of which the first shows nothing."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    *events, last, done = await stream(ScriptedEngine(ids("aéb")), prompt="xy", stream_options=options)
    told = [(event["choices"][0]["text"], event["usage"]["completion_tokens"]) for event in events]
    assert [each for each in told if each[0]] == [("a", 1), ("é", 3), ("b", 4)]
    assert {event["usage"]["prompt_tokens"] for event in events} == {2}
    assert (last["choices"], last["usage"]["total_tokens"], done) == ([], 6, "[DONE]")


@pytest.mark.parametrize(
    ("prompt", "token_ids"),
    [
        ("ab", [[97, 98]]),
        (["a", "bc"], [[97], [98, 99]]),
        ([97, 98], [[97, 98]]),
        ([[97], [98, 99]], [[97], [98, 99]]),
    ],
)
async def test_a_prompt_may_be_text_or_token_ids_one_or_several(prompt: Any, token_ids: list[list[int]]) -> None:
    engine = ScriptedEngine(ids("k"))
    answer = await complete(engine, prompt=prompt)
    assert [submission.prompt_token_ids for submission in engine.submissions] == token_ids
    assert [choice["index"] for choice in answer["choices"]] == list(range(len(token_ids)))
    assert answer["usage"]["prompt_tokens"] == sum(map(len, token_ids))


async def test_several_prompts_with_several_choices_are_numbered_prompt_by_prompt() -> None:
    engine = ScriptedEngine(ids("k"))
    answer = await complete(engine, prompt=["a", "b"], n=2)
    assert [submission.prompt_token_ids for submission in engine.submissions] == [[97], [97], [98], [98]]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == 2
    assert answer["usage"]["completion_tokens"] == 4


async def test_a_stop_string_cuts_text_usage_and_logprobs_alike_and_closes_the_sequence() -> None:
    body = {"prompt": "x", "max_tokens": 50, "stop": ["END"], "logprobs": 0}
    whole_engine, stream_engine = ScriptedEngine(ids("one END two")), ScriptedEngine(ids("one END two"))
    whole = await complete(whole_engine, **body)
    events = await stream(stream_engine, **body, stream_options={"include_usage": True})
    [choice] = whole["choices"]
    assert choice["text"] == texts(events) == "one "
    assert choice["finish_reason"] == "stop"
    assert choice["logprobs"]["tokens"] == ["o", "n", "e", " "]
    assert choice["logprobs"]["text_offset"] == [0, 1, 2, 3]
    assert whole["usage"] == events[-2]["usage"]
    assert whole["usage"]["completion_tokens"] == len("one END")
    for engine in (whole_engine, stream_engine):
        assert [closed.finish_reason for closed in engine.closed] == [FinishReason.STOP]


async def test_the_stop_string_is_shown_to_who_asks_for_it() -> None:
    engine = ScriptedEngine(ids("one END two"))
    answer = await complete(engine, prompt="x", max_tokens=50, stop="END", include_stop_str_in_output=True)
    assert answer["choices"][0]["text"] == "one END"


async def test_an_end_token_is_counted_but_not_shown() -> None:
    answer = await complete(ScriptedEngine([*ids("hi"), EOS]), prompt="x", logprobs=1, skip_special_tokens=False)
    assert answer["choices"][0]["text"] == "hi"
    assert answer["choices"][0]["logprobs"]["tokens"] == ["h", "i"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 3


async def test_half_a_character_is_never_sent() -> None:
    events = await stream(ScriptedEngine(ids("é😀")), prompt="x")
    assert [event["choices"][0]["text"] for event in events[:-1]] == ["é", "😀", ""]


async def test_a_character_cut_off_by_the_end_is_shown_as_broken() -> None:
    answer = await complete(ScriptedEngine(ids("😀")), prompt="x", max_tokens=2)
    assert answer["choices"][0]["text"] == "\ufffd"


async def test_logprobs_of_half_a_character_wait_for_the_other_half() -> None:
    events = await stream(ScriptedEngine(ids("é!")), prompt="x", logprobs=1)
    assert [event["choices"][0]["logprobs"]["text_offset"] for event in events[:2]] == [[0, 0], [1]]


async def test_the_chosen_token_is_among_its_alternatives() -> None:
    answer = await complete(ScriptedEngine(ids("a")), prompt="x", logprobs=2)
    assert answer["choices"][0]["logprobs"]["top_logprobs"] == [{"b": -0.1, "c": -0.2, "a": -1.0}]


async def test_echo_gives_the_prompt_back_with_logprobs_from_the_second_token_on() -> None:
    engine = ScriptedEngine(ids("é!"))
    answer = await complete(engine, prompt="çb", echo=True, logprobs=0, max_tokens=3)
    [choice] = answer["choices"]
    assert choice["text"] == "çbé!"
    assert choice["logprobs"]["token_logprobs"] == [None, -1.0, -1.0, -1.0, -1.0, -1.0]
    assert choice["logprobs"]["text_offset"] == [0, 0, 1, 2, 2, 3]
    assert engine.submissions[0].params.prompt_logprobs == 0
    assert answer["usage"]["completion_tokens"] == 3


async def test_echo_without_new_tokens_scores_a_prompt() -> None:
    body = {"prompt": [ids("ab"), ids("c")], "echo": True, "max_tokens": 0, "logprobs": 1}
    whole = await complete(ScriptedEngine(ids("zzz")), **body)
    assert [choice["text"] for choice in whole["choices"]] == ["ab", "c"]
    assert [choice["finish_reason"] for choice in whole["choices"]] == ["length", "length"]
    assert whole["choices"][0]["logprobs"]["tokens"] == ["a", "b"]
    assert whole["usage"]["completion_tokens"] == 0
    events = await stream(ScriptedEngine(ids("zzz")), **body)
    assert [texts(events, 0), texts(events, 1)] == ["ab", "c"]


async def test_prompt_logprobs_are_given_by_token_id() -> None:
    answer = await complete(ScriptedEngine(ids("z")), prompt="ab", prompt_logprobs=1, max_tokens=1)
    assert answer["choices"][0]["prompt_logprobs"] == [
        None,
        {
            "98": {"logprob": -1.0, "rank": None, "decoded_token": "b"},
            "99": {"logprob": -0.1, "rank": 1, "decoded_token": "c"},
        },
    ]


async def test_the_same_seed_gives_the_same_distinct_seeds_again() -> None:
    seeds = []
    for _ in range(2):
        engine = ScriptedEngine(ids("k"))
        await complete(engine, prompt=["a", "a"], n=2, seed=-5)
        seeds.append([submission.params.seed for submission in engine.submissions])
    assert seeds[0] == seeds[1]
    assert seeds[0][:2] == seeds[0][2:]
    assert seeds[0][0] != seeds[0][1]
    assert all(0 <= seed < 2**63 for seed in seeds[0])


async def test_without_a_seed_every_sequence_draws_another() -> None:
    engine = ScriptedEngine(ids("k"))
    await complete(engine, prompt=["a", "a"], n=2)
    assert len({submission.params.seed for submission in engine.submissions}) == 4


async def test_priority_and_salt_reach_the_engine() -> None:
    engine = ScriptedEngine(ids("k"))
    await complete(engine, prompt="a", priority=-3, cache_salt="mine")
    assert (engine.submissions[0].priority, engine.submissions[0].cache_salt) == (-3, "mine")


async def test_the_default_is_sixteen_tokens_or_what_fits() -> None:
    for prompt, expected in (("a", 16), ("a" * 60, 4)):
        engine = ScriptedEngine(ids("k"))
        await complete(engine, prompt=prompt)
        assert engine.submissions[0].params.max_tokens == expected


@pytest.mark.parametrize(
    ("engine", "room", "field"),
    [(ScriptedEngine(), 54, "prompt"), (ScriptedEngine(ready=small(num_blocks=3)), 14, "max_tokens")],
)
async def test_what_cannot_fit_is_refused_with_what_would(engine: ScriptedEngine, room: int, field: str) -> None:
    async with started(make_app(engine)) as client:
        answer = await client.post("/v1/completions", json={"prompt": "a" * 10, "max_tokens": 55})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", field)
    for number in (10, 55, 10 + room, room):
        assert str(number) in error["message"]
    assert engine.submissions == []


async def test_a_refused_sequence_takes_the_others_of_its_request_with_it() -> None:
    engine = ScriptedEngine(refusals={2: Overloaded("the queue is full", 9)})
    async with started(make_app(engine)) as client:
        answer = await client.post("/v1/completions", json={"prompt": "a", "n": 3})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "9")
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert [stream.finish_reason for stream in engine.closed] == [FinishReason.ABORT] * 2


async def test_one_request_may_not_be_many() -> None:
    async with started(make_app(ScriptedEngine(), limits=RequestLimits(max_sequences=5))) as client:
        answer = await client.post("/v1/completions", json={"prompt": ["a", "b", "c"], "n": 2})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")
    assert "6" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("field", "most", "more"),
    [("n", 3, 4), ("stop", ["a", "b"], ["a", "b", "c"]), ("logprobs", 1, 2), ("prompt_logprobs", 1, 2)],
)
async def test_how_much_a_request_may_ask_for_is_the_operators_to_say(field: str, most: object, more: object) -> None:
    limits = RequestLimits(max_sequences=3, max_stop_strings=2, max_logprobs=1)
    async with started(make_app(ScriptedEngine(script=ids("x")), limits=limits)) as client:
        answers = [await client.post("/v1/completions", json={"prompt": "a", field: value}) for value in (most, more)]
    assert [answer.status_code for answer in answers] == [200, 400]
    assert answers[1].json()["error"]["param"] == field
