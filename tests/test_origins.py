"""What a browser lets pages of other origins do, and what it is told with every response."""

from __future__ import annotations

import httpx
import pytest

from app.api.gate.access import AccessRules
from app.api.gate.keys import KeyRing
from app.api.wire.server import HEADERS
from app.config import ConfigError, load_config
from tests.raw_client import connected
from tests.scripted_engine import ScriptedEngine, data_of, listening, make_app, started

FRIEND, STRANGER = "https://friend.example", "https://stranger.example"
ALLOWED = "access-control-allow-origin"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
COMPLETIONS = "/v1/completions"


def locked() -> AccessRules:
    return AccessRules(KeyRing("alice:secret"))


async def test_other_origins_are_kept_out_unless_they_are_listed() -> None:
    async with started(make_app(ScriptedEngine(script=b"ok"))) as client:
        preflight = await client.options(COMPLETIONS, headers={"Origin": FRIEND, **PREFLIGHT})
        answer = await client.post(COMPLETIONS, json={"prompt": "x"}, headers={"Origin": FRIEND})
    assert preflight.status_code == 405
    assert ALLOWED not in preflight.headers
    assert ALLOWED not in answer.headers


async def test_a_page_of_a_listed_origin_asks_first_without_a_key_and_then_streams_with_one() -> None:
    app = make_app(ScriptedEngine(script=b"ok"), access=locked(), cors_origins=[FRIEND])
    async with started(app) as client:
        preflight = await client.options(COMPLETIONS, headers={"Origin": FRIEND, **PREFLIGHT})
        assert (preflight.status_code, preflight.headers[ALLOWED]) == (200, FRIEND)
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        headers = {"Origin": FRIEND, "Authorization": "Bearer secret"}
        stream = await client.post(COMPLETIONS, json={"prompt": "x", "stream": True}, headers=headers)
        assert (stream.headers[ALLOWED], data_of(stream.text)[-1]) == (FRIEND, "[DONE]")
        assert "X-Request-Id" in stream.headers["access-control-expose-headers"]
        assert stream.headers["x-accel-buffering"] == "no"


async def test_a_page_of_a_listed_origin_can_read_what_went_wrong() -> None:
    engine = ScriptedEngine(refusals={0: RuntimeError("unexpected")})
    async with started(make_app(engine, access=locked(), cors_origins=[FRIEND])) as client:
        headers = {"Origin": FRIEND, "Authorization": "Bearer secret"}
        answers = [
            await client.post(COMPLETIONS, json={"prompt": "x"}, headers={"Origin": FRIEND}),
            await client.post(COMPLETIONS, json={"prompt": 5}, headers=headers),
            await client.get("/nowhere", headers=headers),
            await client.post(COMPLETIONS, json={"prompt": "x"}, headers=headers),
        ]
    assert [answer.status_code for answer in answers] == [401, 400, 404, 500]
    assert [answer.headers.get(ALLOWED) for answer in answers] == [FRIEND] * 4


async def test_an_origin_that_is_not_listed_stays_out() -> None:
    async with started(make_app(ScriptedEngine(script=b"ok"), cors_origins=[FRIEND])) as client:
        preflight = await client.options(COMPLETIONS, headers={"Origin": STRANGER, **PREFLIGHT})
        answer = await client.post(COMPLETIONS, json={"prompt": "x"}, headers={"Origin": STRANGER})
    assert preflight.status_code == 400
    assert ALLOWED not in preflight.headers
    assert ALLOWED not in answer.headers


async def test_a_star_lets_every_page_in() -> None:
    async with started(make_app(ScriptedEngine(script=b"ok"), cors_origins=["*"])) as client:
        answer = await client.post(COMPLETIONS, json={"prompt": "x"}, headers={"Origin": STRANGER})
    assert answer.headers[ALLOWED] == "*"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origins", [f"{FRIEND}/", "friend.example", f"{FRIEND}/chat", f"{FRIEND},*", "null"])
def test_what_no_browser_would_send_is_no_origin(origins: str) -> None:
    with pytest.raises(ConfigError, match="without a path"):
        load_config({"cors_origins": origins})


def test_several_origins_are_separated_by_commas() -> None:
    assert load_config({"cors_origins": f"{FRIEND}, {STRANGER}:8443"}).cors_origins == (FRIEND, f"{STRANGER}:8443")


async def test_every_response_carries_what_keeps_a_browser_from_guessing() -> None:
    app = make_app(ScriptedEngine(script=b"ok"), access=locked(), cors_origins=[FRIEND])
    async with listening(app) as (url, _), httpx.AsyncClient(base_url=url) as client, connected(url) as raw:
        key = {"Authorization": "Bearer secret"}
        answers = [
            await client.get("/"),
            await client.get("/assets/theme.css"),
            await client.get("/health"),
            await client.get("/nowhere", headers=key),
            await client.get("/v1/models"),
            await client.post(COMPLETIONS, json={"prompt": "x"}, headers=key),
            await client.post(COMPLETIONS, json={"prompt": "x", "stream": True}, headers=key),
            await client.options(COMPLETIONS, headers={"Origin": FRIEND, **PREFLIGHT}),
        ]
        await raw.send(b"nonsense\r\n\r\n")
        _, refused, _ = await raw.answer()
    assert len({answer.status_code for answer in answers}) == 3
    for headers in (*(answer.headers for answer in answers), refused):
        assert {name: headers.get(name.lower()) for name in HEADERS} == HEADERS
