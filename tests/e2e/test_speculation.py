"""Speculation as its users see it: the same answers in fewer steps, and the counts of it in the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.directories import DEMO
from tests.e2e.server import ONE_THREAD, ServerProcess, serving, until
from tests.e2e.streams import Read, read_streamed, read_whole

LIMITS = ("--kv-cache-memory", "32MiB", *ONE_THREAD)
MAX_TOKENS = 96
REPEATING = {"prompt": "10 + 10 = 20\n" * 12, "temperature": 0, "ignore_eos": True, "max_tokens": MAX_TOKENS}
BODIES: list[dict[str, Any]] = [
    REPEATING,
    REPEATING | {"prompt": "one, two, three, " * 10, "temperature": 1, "seed": 5},
    REPEATING | {"stop": ["0\n", "1\n", "2\n"]},
    {"prompt": "Once upon a time", "max_tokens": MAX_TOKENS, "temperature": 0.8, "seed": 7, "top_p": 0.9},
]


@pytest.fixture(scope="module")
def guessing() -> Iterator[ServerProcess]:
    with serving(DEMO, *LIMITS, "--speculative", "ngram", module="tests.e2e.steady_server") as process:
        yield process


async def answers(server: ServerProcess, read: Read) -> list[tuple[str, str]]:
    async with httpx.AsyncClient(timeout=60) as client:
        return await asyncio.gather(*(read(client, server.url, body) for body in BODIES))


@pytest.mark.parametrize("read", [read_whole, read_streamed])
async def test_the_answers_are_the_same(demo_server: ServerProcess, guessing: ServerProcess, read: Read) -> None:
    assert await answers(guessing, read) == await answers(demo_server, read)


def completion(server: ServerProcess, body: dict[str, Any]) -> Any:
    response = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60)
    assert response.status_code == httpx.codes.OK, response.text
    return response.json()


def counts(server: ServerProcess, name: str) -> float:
    return server.metrics()[f"millrace_{name}_total"]


def test_a_text_that_repeats_takes_fewer_steps_and_the_metrics_say_why(
    demo_server: ServerProcess, guessing: ServerProcess
) -> None:
    said, steps = [], []
    forced = counts(demo_server, "spec_decode_num_draft_tokens")
    for server in (demo_server, guessing):
        until(server.is_idle, "the server is idle")
        before = server.metrics()['millrace_step_seconds_count{part="forward"}']
        said.append(completion(server, REPEATING))
        until(server.is_idle, "the server is idle")
        steps.append(server.metrics()['millrace_step_seconds_count{part="forward"}'] - before)
    assert said[0]["choices"][0]["text"] == said[1]["choices"][0]["text"]
    assert said[0]["usage"]["completion_tokens"] == said[1]["usage"]["completion_tokens"] == MAX_TOKENS
    assert steps[0] == MAX_TOKENS
    assert steps[1] < MAX_TOKENS
    drafts, drafted, accepted = (
        counts(guessing, f"spec_decode_num_{name}") for name in ("drafts", "draft_tokens", "accepted_tokens")
    )
    assert 0 < drafts <= drafted
    assert MAX_TOKENS - steps[1] <= accepted <= drafted
    per_position = "millrace_spec_decode_num_accepted_tokens_per_pos_total"
    by_position = {name: value for name, value in guessing.metrics().items() if name.startswith(per_position)}
    assert sum(by_position.values()) == accepted
    assert next(iter(by_position)) == per_position + '{position="0"}'
    assert counts(demo_server, "spec_decode_num_draft_tokens") == forced


def test_logprobs_belong_to_the_tokens_they_stand_beside(demo_server: ServerProcess, guessing: ServerProcess) -> None:
    without, with_guesses = (
        completion(server, REPEATING | {"logprobs": 2})["choices"][0]["logprobs"] for server in (demo_server, guessing)
    )
    assert with_guesses["tokens"] == without["tokens"]
    assert with_guesses["text_offset"] == without["text_offset"]
    assert with_guesses["token_logprobs"] == pytest.approx(without["token_logprobs"], abs=1e-2)


def test_a_lone_request_that_a_stop_string_ends_leaves_the_engine_alive(guessing: ServerProcess) -> None:
    """The server ends it, so that the step which learns of it has nothing left to compute."""
    body = REPEATING | {"stop": ["0"], "max_tokens": MAX_TOKENS}
    assert completion(guessing, body)["choices"][0]["finish_reason"] == "stop"
    until(guessing.is_idle, "the server is idle")
    assert completion(guessing, body)["choices"][0]["finish_reason"] == "stop"
    assert guessing.health().json()["restarts"] == 0
