"""The program itself with keys: what opens, what is refused at the start, and what one key can do to another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.directories import TextModel
from tests.e2e.server import ONE_THREAD, ServerProcess, serving, started
from tests.e2e.streams import END_SECONDS
from tests.raw_client import connected

LOUD, CALM, BOUNDED = "LOUD#1", "CALM", "BOUNDED#"
TOKENS_PER_MINUTE = 500
PROMPT = "the miller grinds the grain that the river brings to the old mill " * 8


@pytest.fixture(scope="module")
def locked(model: TextModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Two sequences run at once. One key has limits; the keys have characters that mean something elsewhere."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    limits = f"tokens_per_minute={TOKENS_PER_MINUTE} concurrent_requests=8"
    file.write_text(f"# who may come\nbounded:{BOUNDED} {limits}\n")
    keys = ("--api-keys", f"loud:{LOUD},calm:{CALM}", "--api-keys-file", str(file), "--admin-key", "a#dmin")
    sizes = ("--max-num-seqs", "2", "--kv-cache-memory", "64MiB", "--max-sequences-per-request", "64")
    with serving(model.directory, *keys, *sizes, *ONE_THREAD) as server:
        yield server


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def ask(server: ServerProcess, key: str, path: str = "/v1/completions", **body: Any) -> httpx.Response:
    body = {"prompt": PROMPT, "max_tokens": 1, **body}
    return httpx.post(f"{server.url}{path}", json=body, headers=bearer(key), timeout=END_SECONDS)


def cached_tokens(answer: httpx.Response) -> int:
    return int(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


@pytest.mark.parametrize(
    ("key", "status"), [(LOUD, 200), (CALM, 200), (BOUNDED, 200), ("LOUD", 401), ("BOUNDED", 401), ("a#dmin", 401)]
)
def test_exactly_the_keys_open(locked: ServerProcess, key: str, status: int) -> None:
    assert httpx.get(f"{locked.url}/v1/models", headers=bearer(key)).status_code == status


@pytest.mark.parametrize(("key", "status"), [("a#dmin", 200), ("a", 401), (CALM, 401)])
def test_exactly_the_admin_key_opens_the_statistics(locked: ServerProcess, key: str, status: int) -> None:
    with httpx.stream("GET", f"{locked.url}/v1/stats/stream", headers=bearer(key)) as answer:
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("--api-keys-file", "alice:SECRET\nbob:SECR", "does not end with a newline"),
        ("--api-keys-file", "alice:SECRET\nbob:SCHLÜSSEL\n", "line 2: a key is made of printable ASCII"),
    ],
)
def test_a_start_with_keys_that_could_not_open_is_refused(
    model: TextModel, tmp_path: Path, setting: str, value: str, told: str
) -> None:
    file = tmp_path / "keys"
    file.write_text(value)
    with started(model.directory, setting, str(file)) as server:
        assert server.exit_code(END_SECONDS) == 1
        [line] = server.output.splitlines()
    assert line.startswith(f"millrace: {file}")
    assert told in line
    assert "SECR" not in line
    assert "SCHL" not in line


def test_what_is_cached_tells_nothing_of_what_another_key_asked(locked: ServerProcess) -> None:
    first, again = (cached_tokens(ask(locked, LOUD)) for _ in range(2))
    assert first == 0
    assert again > len(PROMPT) // 16, "a key finds its own blocks"
    salts = ("", "loud:", ":", "new")
    assert [cached_tokens(ask(locked, CALM, cache_salt=salt)) for salt in salts] == [0, 0, 0, 0]
    assert [cached_tokens(ask(locked, CALM, cache_salt=salt)) for salt in salts] == [again] * 4


async def test_a_flood_that_calls_itself_urgent_does_not_go_before_others(locked: ServerProcess) -> None:
    """The calm key asks when the flood is there, and has its answer long before the flood is through."""
    body = {"prompt": PROMPT, "max_tokens": 40, "ignore_eos": True, "priority": -(2**31)}
    async with httpx.AsyncClient(base_url=locked.url, timeout=END_SECONDS, limits=httpx.Limits()) as client:
        flood = [
            asyncio.create_task(client.post("/v1/completions", json=body, headers=bearer(LOUD))) for _ in range(30)
        ]
        await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
        calm = await client.post("/v1/completions", json={"prompt": "a", "max_tokens": 1}, headers=bearer(CALM))
        num_unfinished = sum(not task.done() for task in flood)
        answers = await asyncio.gather(*flood)
    assert {answer.status_code for answer in [calm, *answers]} == {200}
    assert num_unfinished > len(flood) // 2


async def test_nobody_uses_more_than_is_allowed_however_they_ask(locked: ServerProcess) -> None:
    chat = {"messages": [{"role": "user", "content": "go on"}], "ignore_eos": True}
    text = {"prompt": "go on", "ignore_eos": True}
    shapes: list[tuple[str, dict[str, Any]]] = [
        *[("/v1/chat/completions", chat)] * 5,
        *[("/v1/completions", text | {"n": 8, "max_tokens": 40})] * 3,
    ]
    async with httpx.AsyncClient(base_url=locked.url, timeout=END_SECONDS) as client:
        begun = asyncio.get_running_loop().time()
        posts = (client.post(path, json=body, headers=bearer(BOUNDED)) for path, body in shapes)
        answers = await asyncio.gather(*posts)
        minutes = (asyncio.get_running_loop().time() - begun) / 60
    used = [answer.json()["usage"]["total_tokens"] for answer in answers if answer.status_code == 200]
    assert 0 < sum(used) <= TOKENS_PER_MINUTE * (1 + minutes)
    assert {answer.status_code for answer in answers} == {200, 429}
    many = ask(locked, BOUNDED, n=64)
    assert (many.status_code, many.headers["x-should-retry"]) == (429, "false")
    assert "requested 64. Waiting does not help" in many.json()["error"]["message"]


def test_what_is_no_route_costs_a_key_nothing(locked: ServerProcess) -> None:
    def refused() -> float:
        return sum(value for name, value in locked.metrics().items() if "admission_rejections" in name)

    before = refused()
    missing = ask(locked, BOUNDED, "/v1/nowhere")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "unknown_route")
    assert not [name for name in missing.headers if name.startswith("x-ratelimit")]
    assert refused() == before


@pytest.mark.parametrize(("host", "status"), [(b"evil.example", 403), (b"localhost:1", 200), (b"127.0.0.1", 200)])
async def test_an_open_server_on_this_machine_answers_to_no_name_of_another_site(
    server: ServerProcess, host: bytes, status: int
) -> None:
    async with connected(server.url) as client:
        await client.send(b"GET /v1/models HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        assert (await client.answer())[0] == status
