"""What one key's requests mean to those of another: their order, their cached blocks, and what each may use."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from app.api.gate.access import AccessRules
from app.api.gate.keys import KeyRing
from app.api.gate.owner import Owner
from app.metrics import Metrics
from tests.scripted_engine import EOS, ScriptedEngine, ids, listening, make_app, small, started
from tests.test_limits import Clock, bearer

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
KEYS = "alice:A, bob:B min_priority=-5"
LEAST = -(2**31)


async def submitted(access: AccessRules, key: str, **body: Any) -> Any:
    """What the engine is asked for."""
    engine = ScriptedEngine(ids("x"))
    async with started(make_app(engine, access=access)) as client:
        answer = await client.post(COMPLETIONS, json={"prompt": "a", **body}, headers=bearer(key))
    assert answer.status_code == 200, answer.text
    return engine.submissions[0]


# Order


@pytest.mark.parametrize(
    ("key", "priority", "precedence"), [("A", LEAST, 0), ("A", 7, 0), ("B", -3, -3), ("B", LEAST, -5), ("B", 7, 0)]
)
async def test_a_priority_counts_between_keys_only_as_far_as_the_operator_allows(
    key: str, priority: int, precedence: int
) -> None:
    asked = await submitted(AccessRules(KeyRing(KEYS)), key, priority=priority)
    assert (asked.priority, asked.precedence) == (priority, precedence)


async def test_without_keys_a_priority_counts_among_all_requests() -> None:
    asked = await submitted(AccessRules(), "any", priority=-9)
    assert (asked.priority, asked.precedence) == (-9, -9)


# Cached blocks


async def test_keys_have_salts_of_their_own_unless_they_share_the_cache() -> None:
    rings = AccessRules(KeyRing(KEYS)), AccessRules(KeyRing(KEYS), shares_cache=True), AccessRules()
    salts = [[(await submitted(access, key, cache_salt="s")).cache_salt for key in "AB"] for access in rings]
    assert salts == [["alice:s", "bob:s"], ["s", "s"], ["s", "s"]]


def test_no_two_keys_can_have_one_salt_whatever_they_send() -> None:
    names, sent = ("", "a", "aa"), ("", ":", "a", "a:", ":a", "aa:")
    salts = {Owner(name).cache_salt(salt) for name in names[1:] for salt in sent}
    assert len(salts) == len(names[1:]) * len(sent)


# What may be used


def limited(limits: str, engine: ScriptedEngine, clock: Clock | None = None, metrics: Metrics | None = None) -> Any:
    return make_app(engine, access=AccessRules(KeyRing(f"alice:A {limits}")), clock=clock or Clock(), metrics=metrics)


async def chat(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    messages = [{"role": "user", "content": "hi"}]
    return await client.post(CHAT, json={"messages": messages, **body}, headers=bearer("A"))


def used(answer: httpx.Response) -> int:
    return int(answer.json()["usage"]["total_tokens"]) if answer.status_code == 200 else 0


async def test_chats_at_once_that_do_not_say_how_long_do_not_use_more_than_is_allowed() -> None:
    engine = ScriptedEngine(ids("x" * 5000), ready=small(max_model_len=8192, num_blocks=8192))
    async with listening(limited("tokens_per_minute=200", engine)) as (url, _), httpx.AsyncClient(base_url=url) as http:
        answers = await asyncio.gather(*(chat(http) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 429, 429, 429, 429]
    assert sum(map(used, answers)) == 200, "the one that is let in may have all of a minute"
    [served] = (answer for answer in answers if answer.status_code == 200)
    assert served.json()["choices"][0]["finish_reason"] == "length"
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert "'max_tokens' was not given" in refused.json()["error"]["message"]


async def test_what_a_short_answer_did_not_use_of_its_reserve_is_there_for_the_next() -> None:
    clock, engine = Clock(), ScriptedEngine([*ids("xy"), EOS], ready=small(max_model_len=8192, num_blocks=8192))
    async with started(limited("tokens_per_minute=200", engine, clock)) as client:
        first = await chat(client)
        assert first.headers["x-ratelimit-remaining-tokens"] == str(200 - used(first))
        assert (await chat(client)).status_code == 429
        clock.now += used(first) * 60 / 200
        assert (await chat(client)).status_code == 200


async def test_choices_share_a_minute_where_the_request_does_not_say_how_long() -> None:
    engine = ScriptedEngine(ids("x" * 5000), ready=small(max_model_len=8192, num_blocks=8192))
    async with started(limited("tokens_per_minute=200", engine)) as client:
        answer = await chat(client, n=4)
    assert {submission.params.max_tokens for submission in engine.submissions} == {(200 - 18) // 4}
    assert 200 - 4 < used(answer) <= 200


@pytest.mark.parametrize("body", [{"n": 64}, {"min_tokens": 64}, {"max_tokens": 190, "n": 2}])
async def test_what_can_never_fit_is_told_not_to_come_again(body: dict[str, Any]) -> None:
    engine = ScriptedEngine(ids("x"), ready=small(max_model_len=8192, num_blocks=8192))
    async with started(limited("tokens_per_minute=80", engine)) as client:
        answer = await chat(client, **body)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (429, "false")
    assert "limit 80" in answer.json()["error"]["message"]
    assert engine.submissions == []


async def test_every_sequence_counts_as_concurrent_until_its_request_ends() -> None:
    engine = ScriptedEngine()
    async with (
        listening(limited("concurrent_requests=4", engine)) as (url, _),
        httpx.AsyncClient(base_url=url) as client,
    ):

        async def ask(**body: Any) -> httpx.Response:
            return await client.post(COMPLETIONS, json={"prompt": "a", **body}, headers=bearer("A"))

        three = asyncio.create_task(ask(prompt=["a", "b", "c"]))
        await engine.until(lambda: len(engine.submissions) == 3)
        refused, too_many = await ask(n=2), await ask(prompt=["a", "b"], n=32)
        assert "limit 4, open 3, requested 2" in refused.json()["error"]["message"]
        assert refused.headers["retry-after"] == "1"
        assert "limit 4, open 3, requested 64. Waiting does not help" in too_many.json()["error"]["message"]
        assert too_many.headers["x-should-retry"] == "false"
        for index in range(3):
            engine.end(index=index)
        assert (await three).status_code == 200
        engine.script = ids("x")
        assert (await ask(n=4)).status_code == 200


async def test_a_request_whose_choices_have_no_room_is_refused_before_one_is_begun() -> None:
    engine = ScriptedEngine(ids("x"), room=5)
    async with started(make_app(engine, access=AccessRules(KeyRing(KEYS)))) as client:
        answers = [
            await client.post(COMPLETIONS, json={"prompt": ["a", "b"], "n": n}, headers=bearer("A")) for n in (3, 2)
        ]
    assert [answer.status_code for answer in answers] == [429, 200]
    assert len(engine.submissions) == 4


async def test_scoring_a_prompt_costs_its_tokens_and_no_more() -> None:
    async with started(limited("tokens_per_minute=4", ScriptedEngine(ids("x")))) as client:
        body = {"prompt": "abcd", "max_tokens": 0, "echo": True, "logprobs": 0}
        answer = await client.post(COMPLETIONS, json=body, headers=bearer("A"))
    assert (answer.status_code, answer.headers["x-ratelimit-remaining-tokens"]) == (200, "0")


# What is no request to generate


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/nowhere", 404),
        ("POST", "/v1/", 404),
        ("POST", "/v1/completions/", 404),
        ("POST", "/v1/models", 405),
        ("POST", "/v1/stats/stream", 403),
        ("GET", COMPLETIONS, 405),
        ("PUT", COMPLETIONS, 405),
        ("OPTIONS", COMPLETIONS, 405),
        ("HEAD", CHAT, 405),
    ],
)
async def test_what_does_not_ask_to_generate_is_not_counted(method: str, path: str, status: int) -> None:
    metrics = Metrics()
    app = limited("requests_per_minute=2", ScriptedEngine(ids("x")), metrics=metrics)
    async with started(app) as client:
        before = rejections(metrics)
        answer = await client.request(method, path, json={}, headers=bearer("A"))
        assert answer.status_code == status
        assert rejections(metrics) == before
        after = await client.post(COMPLETIONS, json={"prompt": "a"}, headers=bearer("A"))
    assert after.headers["x-ratelimit-remaining-requests"] == "1"


def rejections(metrics: Metrics) -> dict[str, float]:
    samples = (sample for family in metrics.registry.collect() for sample in family.samples)
    return {s.labels["reason"]: s.value for s in samples if s.name == "millrace_admission_rejections_total"}
