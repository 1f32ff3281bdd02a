"""What a client writes down of its requests is what `/metrics` counts: sequences, tokens, and how each one ended."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from tests.e2e.server import ServerProcess, until
from tests.e2e.streams import DONE, events_of

Json = dict[str, Any]

NUM_CLIENTS = 12
ENDLESS = {"max_tokens": 8000, "ignore_eos": True, "n": 1}
"""No test sees its end."""

COUNTED = {
    "prompt tokens": "millrace_prompt_tokens_total",
    "output tokens": "millrace_request_generation_tokens_sum",
    "ended by themselves": "millrace_request_generation_tokens_count",
    "requests": 'millrace_http_requests_total{route="/v1/completions",status="200"}',
    **{reason: f'millrace_request_success_total{{finished_reason="{reason}"}}' for reason in ("stop", "length")},
    "client_gone": 'millrace_request_success_total{finished_reason="client_gone"}',
}


def random_request(rng: random.Random) -> Json:
    """Stop strings of one or two letters are often completed by the last token that `max_tokens` allows. An echo alone
    has no output tokens.
    """
    echo = {"echo": True, "max_tokens": 0} if rng.random() < 0.1 else {}
    return {
        "prompt": rng.choice(["the miller", "grain, water, stone", "wheel"]),
        "max_tokens": rng.choice([1, 2, 3, 5, 8, 13, 40]),
        "n": rng.choice([1, 1, 1, 3]),
        "temperature": rng.choice([0, 1, 2]),
        "seed": rng.randrange(1 << 30),
        "stop": ["".join(rng.choices("aeinrst ", k=rng.randint(1, 2))) for _ in range(rng.choice([0, 0, 1, 3]))],
        "stop_token_ids": rng.sample(range(128), rng.choice([0, 0, 2, 10])),
    } | echo


class Ledger:
    """Writes down what a client is told."""

    def __init__(self, url: str, seed: int) -> None:
        self.counts = Counter[str]()
        self._url = url
        self._rng = random.Random(seed)

    async def run(self, num_requests: int) -> None:
        left = iter(range(num_requests))

        async def ask_in_turn() -> None:
            async with httpx.AsyncClient(timeout=60) as client:
                for _ in left:
                    ask = self._rng.choice([self._ask_whole, self._ask_streamed, self._leave])
                    await ask(client, random_request(self._rng))
                    self.counts["requests"] += 1

        await asyncio.gather(*(ask_in_turn() for _ in range(NUM_CLIENTS)))

    async def _ask_whole(self, client: httpx.AsyncClient, body: Json) -> None:
        answer = (await client.post(f"{self._url}/v1/completions", json=body)).json()
        self._ended(body, answer["usage"], [choice["finish_reason"] for choice in answer["choices"]])

    async def _ask_streamed(self, client: httpx.AsyncClient, body: Json) -> None:
        options = {"stream_options": {"include_usage": True}}
        *chunks, usage, done = [event async for event in events_of(client, self._url, body | options)]
        assert done == DONE
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        self._ended(body, usage["usage"], [choice["finish_reason"] for choice in choices if choice["finish_reason"]])

    async def _leave(self, client: httpx.AsyncClient, body: Json) -> None:
        told = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
        kept = {"prompt": body["prompt"], "seed": body["seed"]}
        async with aclosing(events_of(client, self._url, kept | ENDLESS | told)) as events:
            event = await anext(events)
        self.counts["prompt tokens"] += event["usage"]["prompt_tokens"]
        self.counts["client_gone"] += 1

    def _ended(self, body: Json, usage: Json, reasons: list[str]) -> None:
        assert len(reasons) == body["n"]
        self.counts["prompt tokens"] += usage["prompt_tokens"] * body["n"]
        self.counts["output tokens"] += usage["completion_tokens"]
        self.counts["ended by themselves"] += len(reasons)
        self.counts.update(reasons)


def counted(server: ServerProcess) -> Counter[str]:
    until(server.is_idle, "the server is idle")
    metrics = server.metrics()
    return Counter({name: int(metrics.get(series, 0)) for name, series in COUNTED.items()})


async def compare(server: ServerProcess, num_requests: int) -> None:
    before = counted(server)
    ledger = Ledger(server.url, num_requests)
    await ledger.run(num_requests)
    after = counted(server)
    assert {name: after[name] - before[name] for name in COUNTED} == dict(ledger.counts)
    assert all(ledger.counts[name] for name in COUNTED)


async def test_a_ledger_of_random_requests_equals_the_metrics(server: ServerProcess) -> None:
    await compare(server, 100)


@pytest.mark.slow
async def test_so_does_a_long_one(server: ServerProcess) -> None:
    await compare(server, 2000)


async def test_a_stop_string_that_the_last_allowed_token_completes_is_a_stop_everywhere(server: ServerProcess) -> None:
    """The first token of this answer holds the stop string, and no other token is allowed."""
    body = {"prompt": "the miller", "max_tokens": 1, "temperature": 0}
    first = httpx.post(f"{server.url}/v1/completions", json=body).json()["choices"][0]["text"]
    before = counted(server)
    for options in ({}, {"stream": True}):
        answer = httpx.post(f"{server.url}/v1/completions", json=body | options | {"stop": [first]})
        assert '"finish_reason":"stop"' in answer.text
        assert '"finish_reason":"length"' not in answer.text
    new = counted(server) - before
    assert (new["stop"], new["length"]) == (2, 0)
    assert server.output.count("stop") >= 2
