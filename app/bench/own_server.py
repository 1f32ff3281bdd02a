"""Our own server as a process of its own, on a free port of 127.0.0.1, for as long as it is measured."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic

from app.bench.client import Client
from app.bench.outcome import BenchError

START_SECONDS = 600.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.05
SHOWN_LINES = 15


def serve_command(model: str, options: str) -> list[str]:
    """`millrace serve` for `model`, with more of its options as they would be typed."""
    fixed = ["--host", "127.0.0.1", "--port", "0", "--log-level", "info"]
    return [sys.executable, "-m", "app", "serve", model, *shlex.split(options), *fixed]


@asynccontextmanager
async def own_server(command: Sequence[str]) -> AsyncIterator[str]:
    """Start a server and wait until it is ready. Gives its address; ends it afterwards, whatever happened.

    It is in a process group of its own: Ctrl+C reaches it through us, once, so that it can end well.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, process_group=0
        )
        try:
            yield await _until_ready(process, output.fileno())
        finally:
            await _end(process)


async def _until_ready(process: subprocess.Popen[bytes], output: int) -> str:
    deadline = monotonic() + START_SECONDS
    client: Client | None = None
    try:
        while monotonic() < deadline:
            printed = os.pread(output, 1 << 24, 0).decode(errors="replace")
            if process.poll() is not None:
                raise BenchError(f"the server ended with {process.returncode}:\n{_last_lines(printed)}")
            if client is None and (found := re.search(r"running on (http://[\d.]+:\d+)", printed)):
                client = Client(found[1], timeout=30.0)
            if client is not None and await _is_ready(client):
                return client.url
            await asyncio.sleep(POLL_SECONDS)
    finally:
        if client is not None:
            client.close()
    raise BenchError(f"the server was not ready within {START_SECONDS:g} s")


async def _is_ready(client: Client) -> bool:
    """A server that gives up closes its port before it ends; what it printed says why, so wait for that."""
    try:
        return (await client.get("/ready")).status == 200
    except BenchError:
        return False


async def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and if that does not help, SIGKILL."""
    deadline = monotonic() + STOP_SECONDS
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    while process.poll() is None and monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
    if process.poll() is None:
        process.kill()
    process.wait()


def _last_lines(text: str) -> str:
    return "\n".join(text.splitlines()[-SHOWN_LINES:])
