"""A stream put together is the whole answer, in every field, on the real server."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.e2e.server import ServerProcess
from tests.e2e.together import streamed, whole

Json = dict[str, Any]

STORY = {"prompt": "Once upon a time", "max_tokens": 20, "temperature": 0}
MILLER = 1230
"""The token ` miller`, the third of that story."""

QUESTION = {"messages": [{"role": "user", "content": "What is a KV cache?"}], "temperature": 0, "max_tokens": 40}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
ASKED = {"messages": [{"role": "user", "content": "What is the weather in Lisbon?"}], "tools": [WEATHER]}

TABLE: dict[str, tuple[str, Json]] = {
    "a stop token of the request's": ("completions", STORY | {"stop_token_ids": [MILLER], "logprobs": 2}),
    "a stop token that is shown": (
        "completions",
        STORY | {"stop_token_ids": [MILLER], "include_stop_str_in_output": True, "logprobs": 0},
    ),
    "the model's own end, with special tokens shown": ("chat/completions", QUESTION | {"skip_special_tokens": False}),
    "chat logprobs up to the end": ("chat/completions", QUESTION | {"logprobs": True, "top_logprobs": 2}),
    "a stop string": ("completions", STORY | {"stop": ["kind"], "logprobs": 1}),
    "a stop string that the last allowed token completes": (
        "completions",
        STORY | {"stop": ["kind"], "max_tokens": 3},
    ),
    "several choices that end at different tokens": (
        "completions",
        STORY | {"temperature": 1, "seed": 3, "n": 4, "stop_token_ids": [13, 15, 1230], "stop": ["the"]},
    ),
    "an echoed prompt": ("completions", STORY | {"echo": True, "logprobs": 2, "stop_token_ids": [MILLER]}),
    "an echoed prompt alone": ("completions", STORY | {"echo": True, "logprobs": 2, "max_tokens": 0}),
    "a call of a tool": ("chat/completions", ASKED | {"temperature": 0, "logprobs": True}),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_stream_put_together_is_the_whole_answer(demo_server: ServerProcess, name: str) -> None:
    path, body = TABLE[name]
    answer = whole(demo_server.url, path, body)
    assert streamed(demo_server.url, path, body) == answer
    assert all(choice["finish_reason"] for choice in answer["choices"])


def test_a_stop_token_is_not_shown_and_has_no_logprob_but_counts(demo_server: ServerProcess) -> None:
    answer = streamed(demo_server.url, "completions", STORY | {"stop_token_ids": [MILLER], "logprobs": 0})
    [choice] = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == (", a kind", "stop")
    assert "".join(choice["logprobs"]["tokens"]) == ", a kind"
    assert answer["usage"]["completion_tokens"] == len(choice["logprobs"]["tokens"]) + 1


def random_request(seed: int) -> tuple[str, Json]:
    rng = random.Random(seed)
    body: Json = {
        "max_tokens": rng.randint(1, 24),
        "n": rng.choice([1, 1, 3]),
        "temperature": rng.choice([0, 1]),
        "seed": seed,
        "stop": rng.sample([" a", "the", ".", "er", "\n", "e w"], rng.randint(0, 2)),
        "stop_token_ids": rng.sample(range(300, 1300), rng.choice([0, 40])),
        "skip_special_tokens": rng.random() < 0.5,
        "include_stop_str_in_output": rng.random() < 0.3,
        "ignore_eos": rng.random() < 0.2,
    }
    if rng.random() < 0.5:
        scored = rng.choice([None, 0, 2])
        return "completions", body | {"prompt": "Once upon a time", "echo": rng.random() < 0.5, "logprobs": scored}
    chat = rng.choice([QUESTION, ASKED, {"messages": [{"role": "user", "content": "Hi! I am Clara."}]}])
    return "chat/completions", chat | body | {"logprobs": rng.random() < 0.5}


@pytest.mark.parametrize("seed", range(24))
def test_so_it_is_for_any_request(demo_server: ServerProcess, seed: int) -> None:
    path, body = random_request(seed)
    assert streamed(demo_server.url, path, body) == whole(demo_server.url, path, body)


@pytest.mark.slow
def test_so_it_is_for_many_requests(demo_server: ServerProcess) -> None:
    for seed in range(24, 150):
        path, body = random_request(seed)
        assert streamed(demo_server.url, path, body) == whole(demo_server.url, path, body), (path, body)
