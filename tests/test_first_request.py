"""What the first request needs is there before it."""

from __future__ import annotations

import subprocess
import sys

FIRST_REQUEST = """
import asyncio, json, sys
from tests.raw_client import connected, post
from tests.scripted_engine import ScriptedEngine, listening, make_app

async def main():
    engine = ScriptedEngine()
    async with listening(make_app(engine)) as (address, _), connected(address) as client:
        there = set(sys.modules)
        await client.send(post(json.dumps({"prompt": "x", "stream": True}).encode(), extra=b"Connection: close\\r\\n"))
        await engine.until(lambda: bool(engine.submissions))
        engine.write("a")
        engine.end()
        assert b"[DONE]" in await client.rest()
        print(sorted(set(sys.modules) - there))

asyncio.run(main())
"""


def test_a_first_stream_imports_nothing_while_its_tokens_come() -> None:
    """Else it would fall behind the engine, and get many tokens in one event."""
    run = subprocess.run(
        [sys.executable, "-c", FIRST_REQUEST], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"
