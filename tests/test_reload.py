"""SIGHUP changes keys and limits of a server that listens, and nothing else."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

import httpx
import pytest

from app.api.gate import keys as keys_module
from app.api.gate.access import AccessRules
from app.api.gate.keys import KeyRing
from tests.raw_client import until
from tests.scripted_engine import ScriptedEngine, data_of, listening, make_app


@pytest.fixture(autouse=True)
def only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is not looked at now and then."""
    monkeypatch.setattr(keys_module, "SECONDS_BETWEEN_CHECKS", inf)


@dataclass
class Running:
    """A server with a file of keys."""

    engine: ScriptedEngine
    client: httpx.AsyncClient
    file: Path

    def hang_up(self, text: str) -> None:
        """Write the file anew, and say so."""
        self.file.write_text(text + "\n")
        signal.raise_signal(signal.SIGHUP)

    async def status(self, key: str) -> int:
        return (await self.client.get("/v1/models", headers=bearer(key))).status_code

    async def ask(self, key: str, **body: object) -> httpx.Response:
        return await self.client.post("/v1/completions", json={"prompt": "x", **body}, headers=bearer(key))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@asynccontextmanager
async def running(file: Path, text: str) -> AsyncIterator[Running]:
    file.write_text(text + "\n")
    ring, engine = KeyRing(file=file), ScriptedEngine()
    app = make_app(engine, access=AccessRules(ring), clock=lambda: 0.0)
    async with listening(app, reload=ring.reload) as (url, _), httpx.AsyncClient(base_url=url) as client:
        yield Running(engine, client, file)


async def test_keys_and_limits_are_read_again_while_a_stream_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path / "keys", "alice:one requests_per_minute=2") as server:
        reading = asyncio.create_task(server.ask("one", stream=True))
        await server.engine.until(lambda: bool(server.engine.submissions))
        server.engine.write("before ")
        server.hang_up("alice:two requests_per_minute=8\nbob:three")
        async with asyncio.timeout(30):
            while await server.status("two") != 200:
                await asyncio.sleep(0)
        assert [await server.status(key) for key in ("one", "two", "three")] == [401, 200, 200]
        refused = await server.ask("two", max_tokens="none")
        left = [refused.headers[f"x-ratelimit-{what}-requests"] for what in ("limit", "remaining")]
        assert left == ["8", "3"], "half was left of the two, and so it is of the eight, less this one"
        server.engine.write("and after")
        server.engine.end()
        answer = await reading
        assert answer.status_code == 200
        *chunks, done = data_of(answer.text)
        assert "".join(choice["text"] for chunk in chunks for choice in chunk["choices"]) == "before and after"
        assert done == "[DONE]"


@pytest.mark.parametrize("slip", ["no colon", "alice:two tokens_per_minute=many", "alice:sha256:12"])
async def test_a_file_with_a_slip_changes_nothing_and_is_complained_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, slip: str
) -> None:
    async with running(tmp_path / "keys", "alice:one requests_per_minute=2") as server:
        server.hang_up(slip)
        await until(lambda: "stay as they were" in caplog.text)
        assert f"{tmp_path / 'keys'}, line 1: " in caplog.text
        assert [await server.status(key) for key in ("one", "two")] == [200, 401]
        assert (await server.ask("one", max_tokens="none")).headers["x-ratelimit-limit-requests"] == "2"


async def test_a_file_that_is_gone_changes_nothing_either(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path / "keys", "alice:one") as server:
        server.file.unlink()
        signal.raise_signal(signal.SIGHUP)
        await until(lambda: "cannot be read" in caplog.text)
        assert await server.status("one") == 200
