"""Streams put together the way a client does it, and whole answers in the same shape, to be compared."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.e2e.server import NO_TLS
from tests.e2e.streams import DONE

Json = dict[str, Any]
TIMEOUT = 60


def whole(url: str, path: str, body: Json) -> Json:
    """The answer in one piece, without what differs from request to request."""
    response = httpx.post(f"{url}/v1/{path}", json=body, timeout=TIMEOUT, verify=NO_TLS)
    assert response.status_code == httpx.codes.OK, response.text
    answer = response.json()
    choices = [_flat(choice) for choice in answer["choices"]]
    return {"choices": choices, "usage": _counts(answer["usage"])}


def streamed(url: str, path: str, body: Json) -> Json:
    """The same from a stream."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    response = httpx.post(f"{url}/v1/{path}", json=body | options, timeout=TIMEOUT, verify=NO_TLS)
    assert response.status_code == httpx.codes.OK, response.text
    data = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: ")]
    assert data.pop() == DONE, response.text
    *chunks, usage = map(json.loads, data)
    choices: dict[int, Json] = {}
    for chunk in chunks:
        assert "error" not in chunk, chunk
        [part] = chunk["choices"]
        choice = choices.setdefault(part["index"], _empty(part["index"]))
        assert choice["finish_reason"] is None, "nothing comes behind the end"
        _add(choice, part)
    return {"choices": [choices[index] for index in sorted(choices)], "usage": _counts(usage["usage"])}


def _counts(usage: Json) -> Json:
    """Without what the prefix cache happened to hold."""
    return {name: count for name, count in usage.items() if name != "prompt_tokens_details"}


def _empty(index: int) -> Json:
    return {"index": index, "text": "", "reasoning": "", "calls": [], "logprobs": {}, "finish_reason": None}


def _flat(choice: Json) -> Json:
    flat = _empty(choice["index"])
    _add(flat, choice)
    return flat


def _add(choice: Json, part: Json) -> None:
    """Add a chunk's part of a choice, or all of a whole one."""
    said = part.get("delta", part.get("message", part))
    choice["text"] += said.get("text") or said.get("content") or ""
    choice["reasoning"] += said.get("reasoning_content") or ""
    for place, call in enumerate(said.get("tool_calls", [])):
        if call.get("index", place) == len(choice["calls"]):
            assert call["id"]
            choice["calls"].append({"type": call["type"], "name": call["function"]["name"], "arguments": ""})
        choice["calls"][call.get("index", place)]["arguments"] += call["function"]["arguments"]
    for name, column in (part["logprobs"] or {}).items():
        choice["logprobs"][name] = choice["logprobs"].get(name, []) + (column or [])
    choice["finish_reason"] = part["finish_reason"]
