"""What keys may use: buckets on a given clock, limits as they are written, and the answers to those who want more."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, RateLimitError

from app.api.gate.access import AccessRules
from app.api.gate.key_list import BadKeys
from app.api.gate.keys import KeyRing
from app.api.gate.quota import Quota
from app.api.gate.rate_limits import Limiter, RateLimited, duration
from app.api.gate.token_bucket import Bucket
from app.api.openai.dialect import OPENAI
from app.engine.health import Overloaded
from app.metrics import Metrics
from app.metrics.server import MAX_NAMES
from tests.scripted_engine import ScriptedEngine, ids, listening, make_app, started

COMPLETIONS = "/v1/completions"


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# Buckets


def test_a_bucket_is_full_at_first_and_fills_with_time_but_never_over() -> None:
    bucket = Bucket(60, now=0)
    bucket.take(50, 0)
    assert [bucket.level(now) for now in (0, 1, 25, 50, 500)] == [10, 11, 35, 60, 60]
    assert [bucket.seconds_until(level, 0) for level in (10, 11, 60)] == [0, 1, 50]


def test_what_was_used_beyond_the_bucket_is_owed_and_what_was_not_used_is_given_back() -> None:
    bucket = Bucket(60, now=0)
    bucket.take(90, 0)
    assert (bucket.level(0), bucket.seconds_until(1, 0)) == (-30, 31)
    bucket.take(-200, 0)
    assert bucket.level(0) == 60


def test_over_any_time_use_is_within_the_rate_and_one_bucket() -> None:
    chance = random.Random(1)
    bucket, now, used = Bucket(600, now=0), 0.0, 0
    for _ in range(2000):
        now += chance.expovariate(2)
        amount = chance.randrange(1, 300)
        if not (wait := bucket.seconds_until(amount, now)):
            bucket.take(amount, now)
            used += amount
        else:
            assert not bucket.seconds_until(amount, now + wait), "after the wait that was told, there is enough"
        assert used <= 600 + now * 10 + 1e-6
    assert used >= 0.9 * now * 10, "and little of the rate is lost while more is asked for"


def test_a_bucket_that_changes_size_keeps_the_share_that_is_left() -> None:
    bucket = Bucket(100, now=0)
    bucket.take(75, 0)
    bucket.resize(1000, 0)
    assert (bucket.level(0), bucket.level(6)) == (250, 350)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0ms"), (0.0201, "21ms"), (1, "1s"), (1.5, "1.5s"), (59.9999, "1m0s"), (360, "6m0s"), (61.25, "1m1.25s")],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, told: str) -> None:
    assert duration(seconds) == told


# Limits as they are written


def test_limits_stand_behind_keys_and_those_for_everybody_behind_a_star(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(
        "* tokens_per_minute=1000 concurrent_requests=9\n"
        "# until May\n"
        "alice: sk-a requests_per_minute=5\n"
        "alice: sk-a2 requests_per_minute=5 tokens_per_minute=none\n"
        "bob:sk==\n"
        "carol:sk-c concurrent_requests=1 min_priority=-7\n"
    )
    ring = KeyRing("root:zero tokens_per_minute=7", file, Quota(60, 60, 60))
    assert {name: ring.quota_of(name) for name in ("alice", "bob", "carol", "root", "")} == {
        "alice": Quota(5, None, 9),
        "bob": Quota(60, 1000, 9),
        "carol": Quota(60, 1000, 1, -7),
        "root": Quota(60, 7, 9),
        "": Quota(60, 1000, 9),
    }
    assert all(ring.find(secret) for secret in (b"sk-a", b"sk-a2", b"sk==", b"sk-c", b"zero"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a:sk-secret tokens=5", "limits are requests_per_minute, tokens_per_minute, concurrent_requests"),
        ("a:sk-secret tokens_per_minute=0", "tokens_per_minute must be a number from 1 on, or none"),
        ("a:sk-secret tokens_per_minute=lots", "or none"),
        ("a:sk-secret more", "limits are"),
        ("a:sk-secret # more", "a comment has a line of its own"),
        ("a:sk-secret min_priority=5", "min_priority must be a number from -2147483648 to 0"),
        ("a:sk-secret min_priority=-2147483649", "from -2147483648 to 0"),
        ("a:sk-secret min_priority=none", "from -2147483648 to 0"),
        ("* 5", "limits are"),
        ("*:sk-secret", "write name:key"),
        ("a: tokens_per_minute=5", "write name:key"),
        ("a:sk-secret tokens_per_minute=5\na:k tokens_per_minute=6", "entry 2: another entry of a has another tokens"),
    ],
)
def test_a_limit_that_is_none_is_refused_with_what_would_work(text: str, told: str) -> None:
    with pytest.raises(BadKeys, match=r"entry \d: ") as caught:
        KeyRing(text)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


# What is counted


class Door:
    """A limiter whose quota and clock are a test's."""

    def __init__(self, **quota: int) -> None:
        self.clock, self.refusals = Clock(), list[tuple[str, str]]()
        self.quota = Quota(**quota)
        self.limiter = Limiter(
            lambda _: self.quota, self.clock, lambda limit, owner: self.refusals.append((limit, owner))
        )

    def remaining(self, name: str, owner: str = "") -> int:
        return int(self.limiter.ticket(owner).headers()[f"x-ratelimit-remaining-{name}"])

    def refused(self, num_tokens: int = 1, owner: str = "") -> tuple[str, dict[str, str]]:
        with pytest.raises(RateLimited) as caught:
            self.enter(num_tokens, owner)
        return str(caught.value), caught.value.headers | OPENAI.error_headers(caught.value)

    def enter(self, num_tokens: int = 1, owner: str = "") -> Any:
        ticket = self.limiter.ticket(owner)
        ticket.begin()
        ticket.reserve(1, num_tokens)
        return ticket


def test_a_request_that_used_less_gives_the_rest_back_and_one_that_used_more_owes_it() -> None:
    door = Door(tokens_per_minute=100)
    ticket = door.enter(80)
    assert door.remaining("tokens") == 20
    ticket.settle(30, counts=True)
    assert door.remaining("tokens") == 70
    door.enter(10).settle(190, counts=True)
    assert door.remaining("tokens") == 0
    message, headers = door.refused()
    assert message == (
        "Rate limit reached on tokens_per_minute: limit 100, remaining 0, requested 1. Try again in 1m12.6s."
    )
    assert headers == {"Retry-After": "73"}
    door.clock.now += 73
    door.enter(1)


def test_owners_do_not_use_up_what_is_others() -> None:
    door = Door(requests_per_minute=1, tokens_per_minute=10, concurrent_requests=1)
    door.enter(10, "alice")
    assert "for 'alice' on concurrent_requests: limit 1, open 1" in door.refused(1, "alice")[0]
    door.enter(10, "bob")
    assert door.refusals == [("concurrent_requests", "alice")]


def test_a_request_larger_than_a_whole_minute_is_told_not_to_come_again() -> None:
    message, headers = Door(tokens_per_minute=100).refused(101)
    assert "must be smaller" in message
    assert headers == {"X-Should-Retry": "false"}


def test_a_quota_that_changes_holds_at_once_and_lets_go_at_once() -> None:
    door = Door(requests_per_minute=10)
    for _ in range(5):
        door.enter()
    door.quota = Quota(requests_per_minute=4)
    assert door.remaining("requests") == 2
    door.quota = Quota()
    assert door.limiter.ticket("").headers() == {}
    for _ in range(50):
        door.enter()


def test_places_are_free_again_when_those_who_had_them_leave() -> None:
    door = Door(concurrent_requests=2)
    for _ in range(3):
        first, second = door.enter(), door.enter()
        door.refused()
        first.close()
        second.close()


def test_names_beyond_a_number_are_counted_together() -> None:
    metrics = Metrics()
    for number in range(MAX_NAMES + 5):
        metrics.rate_limited("tokens", f"key {number}")
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    counted = {s.labels["key"]: s.value for s in samples if s.name == "millrace_rate_limited_total"}
    assert len(counted) == MAX_NAMES + 1
    assert counted["other"] == 5


# Over HTTP


def app_with(keys: str, engine: ScriptedEngine, clock: Clock, metrics: Metrics | None = None) -> Any:
    return make_app(engine, access=AccessRules(KeyRing(keys)), clock=clock, metrics=metrics)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def limits_in(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("x-ratelimit-")}


async def post(client: httpx.AsyncClient, key: str = "k", **body: Any) -> httpx.Response:
    return await client.post(COMPLETIONS, json={"prompt": "abcd", **body}, headers=bearer(key))


async def test_every_answer_tells_what_is_left_and_a_refusal_when_there_will_be_more() -> None:
    clock, metrics = Clock(), Metrics()
    app = app_with("alice:k requests_per_minute=2 tokens_per_minute=100", ScriptedEngine(ids("xy")), clock, metrics)
    async with started(app) as client:
        first = await post(client, max_tokens=6)
        clock.now += 15
        bad = await post(client, max_tokens="many")
        refused = await post(client, max_tokens=6)
        elsewhere = await client.get("/v1/models", headers=bearer("k"))
        stranger = await post(client, "other")
    assert limits_in(first) == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "94",
        "x-ratelimit-reset-tokens": "3.6s",
    }
    assert (bad.status_code, bad.headers["x-ratelimit-remaining-requests"]) == (400, "0"), "it was a request"
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "15")
    assert refused.headers["x-ratelimit-remaining-tokens"] == "100", "15 seconds gave back six"
    assert refused.json()["error"] == {
        "message": "Rate limit reached for 'alice' on requests_per_minute: limit 2, remaining 0, requested 1. "
        "Try again in 15s.",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert limits_in(elsewhere) == limits_in(stranger) == {}
    count = metrics.registry.get_sample_value
    assert count("millrace_admission_rejections_total", {"reason": "rate_limit_requests"}) == 1
    assert count("millrace_rate_limited_total", {"limit": "requests", "key": "alice"}) == 1


async def test_tokens_are_reserved_as_asked_for_and_counted_as_used() -> None:
    clock, engine = Clock(), ScriptedEngine(ids("xyz"))
    async with started(app_with("alice:k requests_per_minute=100 tokens_per_minute=60", engine, clock)) as client:
        answers = [
            await post(client, max_tokens=20, n=2),
            await post(client, max_tokens=40, n=2),
            await post(client, max_tokens=2),
            await post(client, max_tokens=50),
        ]
        assert [answer.status_code for answer in answers] == [200, 429, 200, 429]
        asked = [answer.headers["x-ratelimit-remaining-tokens"] for answer in answers]
        assert asked == ["50", "50", "44", "44"], "a whole answer tells what it used"
        assert "limit 60, requested 84" in answers[1].text
        assert "remaining 44, requested 54. Try again in 10s." in answers[3].text
        assert (await post(client, max_tokens=40)).headers["x-ratelimit-remaining-requests"] == "97"


async def test_what_the_server_refuses_costs_nothing() -> None:
    clock, engine = Clock(), ScriptedEngine(ids("x"), refusals={0: Overloaded("full", 1)})
    async with started(app_with("alice:k requests_per_minute=9 tokens_per_minute=60", engine, clock)) as client:
        assert (await post(client)).json()["error"]["code"] == "overloaded"
        engine.refusals.clear()
        after = await post(client, max_tokens=1)
    assert (after.headers["x-ratelimit-remaining-requests"], after.headers["x-ratelimit-remaining-tokens"]) == (
        "8",
        "55",
    )


async def test_a_client_that_leaves_gives_back_its_place_and_what_was_not_made() -> None:
    clock, engine = Clock(), ScriptedEngine()
    app = app_with("alice:k concurrent_requests=1 tokens_per_minute=60", engine, clock)

    async def write_xyz() -> None:
        await engine.until(lambda: bool(engine.submissions))
        engine.submissions[0].stream.times.scheduled = 1.0
        engine.write("xyz")

    async with listening(app) as (url, _), httpx.AsyncClient(base_url=url) as client:
        body = {"prompt": "abcd", "max_tokens": 40, "stream": True}
        writing = asyncio.create_task(write_xyz())
        async with client.stream("POST", COMPLETIONS, json=body, headers=bearer("k")) as answer:
            await writing
            assert answer.headers["x-ratelimit-remaining-tokens"] == "16"
            async for line in answer.aiter_lines():
                if "xyz"[-1] in line:
                    break
            refused = await post(client)
            assert refused.json()["error"]["type"] == "concurrent_requests"
        await engine.until(lambda: bool(engine.closed))
        async with asyncio.timeout(30):
            while (again := await post(client, max_tokens=60)).json()["error"]["type"] == "concurrent_requests":
                await asyncio.sleep(0)
    assert "limit 60, requested 64" in again.text
    assert again.headers["x-ratelimit-remaining-tokens"] == "53"


async def test_openais_own_client_waits_as_it_is_told_and_does_not_insist_where_waiting_is_no_help() -> None:
    clock, engine = Clock(), ScriptedEngine(ids("x"))
    app = app_with("alice:k tokens_per_minute=60", engine, clock)
    async with listening(app) as (url, _), AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=5) as client:
        with pytest.raises(RateLimitError, match="must be smaller") as caught:
            await client.completions.create(model="tiny", prompt="abcd", max_tokens=59)
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "tokens")
    assert engine.submissions == []


async def test_without_keys_everybody_shares_the_limits() -> None:
    app = make_app(
        ScriptedEngine(ids("x")), access=AccessRules(KeyRing(quota=Quota(requests_per_minute=1))), clock=Clock()
    )
    async with started(app) as client:
        assert [(await post(client)).status_code for _ in range(2)] == [200, 429]
