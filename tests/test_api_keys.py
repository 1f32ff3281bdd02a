"""Who may come in: keys as they are written, kept, compared and replaced, and every route asks for one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.errors import ApiError
from app.api.gate import keys as keys_module
from app.api.gate.access import AccessRules
from app.api.gate.key_list import BadKeys
from app.api.gate.keys import KeyRing
from app.api.run import warn_if_open
from app.config import load_config
from app.serve import read_access_rules
from tests.raw_client import connected
from tests.scripted_engine import ScriptedEngine, ids, listening, make_app, started

OPEN = {"/", "/dashboard", "/assets/{path:path}", "/health", "/ready", "/metrics"}
ACCESS = AccessRules(KeyRing("alice:sk-a, bob:sk-b"))
BODY = {"prompt": "x"}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def routes(app: Any) -> Iterator[tuple[str, str]]:
    """Every method and path, however deep routers are put into each other."""
    for route in app.routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        if hasattr(route, "path") and getattr(route, "methods", None):
            yield from ((method, route.path) for method in sorted(route.methods))
        elif hasattr(inner, "routes"):
            yield from routes(inner)


# Routes


async def test_every_route_asks_for_a_key_but_those_that_are_listed() -> None:
    app = make_app(ScriptedEngine(ids("k")), access=ACCESS)
    walked = list(routes(app))
    assert {"/v1/completions", "/v1/chat/completions", "/v1/models", "/v1/stats/stream", *OPEN} <= {
        p for _, p in walked
    }
    async with started(app) as client:
        for method, path in walked:
            answer = await client.request(method, path.replace("{path:path}", "x").replace("{model:path}", "x"))
            assert (answer.status_code == 401) is (path not in OPEN), (method, path)


@pytest.mark.parametrize("path", ["/v2", "/health/", "//", "/assets", "/V1/models", "/dashboard/x", "/metrics/"])
async def test_what_is_no_route_asks_for_a_key_too(path: str) -> None:
    async with started(make_app(ScriptedEngine(), access=ACCESS)) as client:
        assert (await client.get(f"http://t{path}")).status_code == 401


@pytest.mark.parametrize(
    "headers", [{}, bearer("sk-c"), bearer("sk-"), bearer("sk-aa"), bearer(""), {"Authorization": "Basic sk-a"}]
)
async def test_whoever_has_no_key_is_told_in_the_shape_of_openai(headers: dict[str, str]) -> None:
    async with started(make_app(ScriptedEngine(), access=ACCESS)) as client:
        answer = await client.post("/v1/completions", json=BODY, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="millrace"')
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert "sk-" not in answer.text


async def test_the_engine_is_told_whose_request_it_is() -> None:
    engine = ScriptedEngine(ids("k"))
    async with started(make_app(engine, access=ACCESS)) as client:
        for key in ("sk-a", "sk-b"):
            assert (await client.post("/v1/completions", json=BODY, headers=bearer(key))).status_code == 200
    assert [submission.owner for submission in engine.submissions] == ["alice", "bob"]


async def test_without_keys_everybody_comes_in_without_a_name() -> None:
    engine = ScriptedEngine(ids("k"))
    async with started(make_app(engine)) as client:
        assert (await client.post("/v1/completions", json=BODY, headers=bearer("any"))).status_code == 200
    assert [submission.owner for submission in engine.submissions] == [""]


async def test_metrics_and_the_dashboard_may_have_keys_of_their_own_that_open_nothing_else() -> None:
    access = AccessRules(KeyRing("alice:sk-a"), KeyRing("prometheus:sk-m"), KeyRing("operator:sk-o"))
    app = make_app(ScriptedEngine(ids("k")), access=access)
    own = {"/metrics": "sk-m", "/v1/stats/stream": "sk-o"}
    opened = {}
    async with listening(app) as (url, _), httpx.AsyncClient(base_url=url) as client:
        for method, path in routes(app):
            filled = path.replace("{path:path}", "x").replace("{model:path}", "x")
            for key in ("sk-a", "sk-m", "sk-o"):
                async with client.stream(method, filled, headers=bearer(key)) as answer:
                    opened[method, path, key] = answer.status_code != 401
    for (method, path, key), is_open in opened.items():
        assert is_open is (path in OPEN - {"/metrics"} or key == own.get(path, "sk-a")), (method, path, key)


async def test_a_key_for_the_dashboard_closes_it_even_where_all_else_is_open() -> None:
    async with started(make_app(ScriptedEngine(), access=AccessRules(admin_keys=KeyRing("operator:sk-o")))) as client:
        seen = [(await client.get(path)).status_code for path in ("/v1/stats/stream", "/v1/models")]
    assert seen == [401, 200]


async def test_with_keys_but_none_for_the_dashboard_it_is_closed_to_every_key() -> None:
    async with started(make_app(ScriptedEngine(), access=ACCESS)) as client:
        answer = await client.get("/v1/stats/stream", headers=bearer("sk-a"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "admin_key_not_set")
    assert "MILLRACE_ADMIN_KEY" in answer.json()["error"]["message"]


@pytest.mark.parametrize("sent", ["schlüssel".encode(), b"  s#cret,\t"])
async def test_a_key_is_compared_as_it_was_sent(sent: bytes) -> None:
    digests = [hashlib.sha256(secret).hexdigest() for secret in ("schlüssel".encode(), b"s#cret,")]
    access = AccessRules(KeyRing(",".join(f"alice:sha256:{digest}" for digest in digests)))
    async with listening(make_app(ScriptedEngine(), access=access)) as (url, _), connected(url) as client:
        await client.send(b"GET /v1/models HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer " + sent + b"\r\n\r\n")
        assert (await client.answer())[0] == 200


# Keys


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/stats/stream"])
def test_every_guess_meets_the_same_comparisons_however_much_of_it_is_right(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """All that depends on a guess is compared by `compare_digest`, in one length, and with every key there is."""
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    secret = "sk-0123456789abcdef"
    ring = KeyRing(f"alice:{secret},bob:sk-b,carol:sk-c")
    access = AccessRules(ring, ring, ring)
    prefixes = [secret[:length] for length in range(1, len(secret) + 1)]
    guesses = [*prefixes, *(prefix + "x" for prefix in prefixes), "sk-b", "x" * 10_000, "ü\udc80"]
    let_in = []
    for guess in guesses:
        compared.clear()
        with suppress(ApiError):
            let_in.append((access.admit(path, f"Bearer {guess}".encode("utf-8", "surrogateescape")), guess))
        assert compared == [(32, 32)] * 3, guess
    assert let_in == [("alice", secret), ("bob", "sk-b")]


def test_a_file_is_read_again_when_it_changes_and_a_slip_in_it_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "SECONDS_BETWEEN_CHECKS", 0.0)
    monkeypatch.setattr(keys_module, "SECONDS_AT_REST", 0.0)
    file = tmp_path / "keys"
    file.write_text("alice:one\n")
    ring = KeyRing("root:zero", file)
    assert [bool(ring.find(key.encode())) for key in ("zero", "one", "two!")] == [True, True, False]
    file.write_text("alice:two!\n")
    assert [bool(ring.find(key.encode())) for key in ("zero", "one", "two!")] == [True, False, True]
    for spoil in (lambda: file.write_text("no colon here\n"), file.unlink):
        spoil()
        assert [bool(ring.find(key.encode())) for key in ("zero", "one", "two!")] == [True, False, True]


def test_a_file_without_keys_lets_nobody_in_and_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none yet\n")
    assert KeyRing(file=tmp_path / "keys").is_needed
    with pytest.raises(BadKeys, match="cannot be read"):
        KeyRing(file=tmp_path / "other")


@pytest.mark.parametrize(
    ("settings", "is_told"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "192.0.2.7", "metrics_key": "m"}, True),
        ({"host": "0.0.0.0", "api_keys": "alice:sk-a"}, False),
        ({"host": "127.0.0.1"}, False),
        ({"host": "::1"}, False),
        ({"host": "localhost"}, False),
    ],
)
def test_who_serves_others_without_keys_is_told_that_anybody_may_come(
    settings: dict[str, str], is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    config = load_config(settings)
    warn_if_open(config, read_access_rules(config))
    expected = f"Anybody who reaches {settings['host']} may use this server: no API keys are set"
    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", expected)] * is_told
