"""Runs a Millrace server in its own process, on a free port of 127.0.0.1, for as long as it is measured."""

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
    """The command line of `millrace serve` for `model`, with further options as they would be typed."""
    fixed = ["--host", "127.0.0.1", "--port", "0", "--log-level", "info"]
    return [sys.executable, "-m", "app", "serve", model, *shlex.split(options), *fixed]


@asynccontextmanager
async def own_server(command: Sequence[str]) -> AsyncIterator[str]:
    """Start a server, wait until it is ready and yield its address. It is always ended afterwards.

    It runs in its own process group: on Ctrl-C it gets one signal from us, not a second one from the terminal, so that
    it can shut down gracefully.
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
    """Whether the server is ready. One that fails closes its port before it exits, so a refused connection is no error:
    its output will say why.
    """
    try:
        return (await client.get("/ready")).status == 200
    except BenchError:
        return False


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM and, if that does not help, SIGKILL."""
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
