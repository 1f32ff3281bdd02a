"""Streamed is not streamed: the same text, logprobs, reasons and usage, however the tokens happen to arrive."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.scripted_engine import EOS, ScriptedEngine, data_of, ids, make_app, started

LETTERS = "ab é漢😀e\u0301\n"
COLUMNS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


def world(seed: int) -> tuple[list[int], dict[str, Any]]:
    """What the model will say, cut anywhere or broken, and a request."""
    rng = random.Random(seed)
    script = ids("".join(rng.choices(LETTERS, k=20)))
    if rng.random() < 0.3:
        script[rng.randrange(len(script))] = rng.choice([0xFF, 0xE6, EOS])
    body = {
        "prompt": "".join(rng.choices(LETTERS, k=3)),
        "n": rng.choice([1, 3]),
        "max_tokens": rng.randint(1, 40),
        "stop": ["".join(rng.choices("ab é", k=rng.randint(1, 2))) for _ in range(rng.randint(0, 2))],
        "logprobs": rng.choice([0, 2]),
        "echo": rng.random() < 0.5,
        "include_stop_str_in_output": rng.random() < 0.5,
        "skip_special_tokens": rng.random() < 0.5,
    }
    return script, body


def joined(events: list[Any]) -> dict[str, Any]:
    """The chunks of a stream, put together the way a client does."""
    *chunks, usage, done = events
    assert done == "[DONE]"
    choices: dict[int, dict[str, Any]] = {}
    for [part] in (chunk["choices"] for chunk in chunks):
        choice = choices.setdefault(
            part["index"], {"text": "", "finish_reason": None, **{name: [] for name in COLUMNS}}
        )
        assert choice["finish_reason"] is None
        choice["text"] += part["text"]
        choice["finish_reason"] = part["finish_reason"]
        for name in COLUMNS:
            choice[name] += (part["logprobs"] or {}).get(name) or []
    return {"choices": [choices[index] for index in sorted(choices)], "usage": usage["usage"]}


@pytest.mark.parametrize("seed", range(40))
async def test_a_stream_put_together_is_the_whole_answer(seed: int) -> None:
    script, body = world(seed)
    async with started(make_app(ScriptedEngine(script))) as client:
        whole = (await client.post("/v1/completions", json=body)).json()
        stream = await client.post(
            "/v1/completions", json=body | {"stream": True, "stream_options": {"include_usage": True}}
        )
    choices = [
        {"text": choice["text"], "finish_reason": choice["finish_reason"]}
        | {name: choice["logprobs"][name] or [] for name in COLUMNS}
        for choice in whole["choices"]
    ]
    assert joined(data_of(stream.text)) == {"choices": choices, "usage": whole["usage"]}
    for choice in choices:
        assert len(choice["tokens"]) == len(choice["text_offset"])
        assert choice["text_offset"] == sorted(choice["text_offset"])
