"""Four streams that go on beside whatever is done to a server: their texts must not change, nor their pace by much."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.scripted_engine import data_of

PROMPTS: tuple[dict[str, Any], ...] = (
    {"prompt": "the miller grinds", "temperature": 0},
    {"prompt": "a mill race carries water", "temperature": 0},
    {"prompt": "grain, water", "temperature": 0.9, "seed": 7},
    {"prompt": "speak of wheels", "temperature": 0, "logprobs": 3},
)
NUM_TOKENS = 400


@dataclass
class Sight:
    """What the witnesses saw: the events of each, and the longest time between two reads of one stream, in seconds."""

    texts: list[list[str]] = field(default_factory=lambda: [[] for _ in PROMPTS])
    longest_gap: float = 0.0


async def watch(url: str, stop: asyncio.Event, sight: Sight) -> Sight:
    """Let the witnesses read one stream after the other until `stop` is set, each at least one to its end."""
    async with httpx.AsyncClient(timeout=300) as client:
        await asyncio.gather(*(_watch_one(client, url, number, stop, sight) for number in range(len(PROMPTS))))
    return sight


async def _watch_one(client: httpx.AsyncClient, url: str, number: int, stop: asyncio.Event, sight: Sight) -> None:
    body = {"max_tokens": NUM_TOKENS, "ignore_eos": True, "stream": True} | PROMPTS[number]
    while not (stop.is_set() and sight.texts[number]):
        received, last = "", 0.0
        async with client.stream("POST", f"{url}/v1/completions", json=body) as response:
            assert response.status_code == httpx.codes.OK, await response.aread()
            async for part in response.aiter_text():
                now = time.monotonic()
                if last:
                    sight.longest_gap = max(sight.longest_gap, now - last)
                last = now
                received += part
        sight.texts[number].append(_said(received))


def _said(stream: str) -> str:
    """The text of a stream that has ended well, and the logprobs of it."""
    *events, done = data_of(stream)
    assert done == "[DONE]"
    choices = [choice for event in events for choice in event["choices"]]
    logprobs = [choice["logprobs"]["token_logprobs"] for choice in choices if choice["logprobs"]]
    return repr(("".join(choice["text"] for choice in choices), [value for values in logprobs for value in values]))
