"""The program itself reads its keys again on SIGHUP, whatever the file's time says, and still ends well."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.e2e.directories import TextModel
from tests.e2e.server import ONE_THREAD, ServerProcess, started, until


def status(server: ServerProcess, key: str) -> int:
    return httpx.get(f"{server.url}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code


@pytest.mark.slow
def test_a_hangup_replaces_the_keys_of_a_running_server(model: TextModel, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("alice:sk-one\n")
    unchanged = file.stat()
    with started(model.directory, "--api-keys-file", str(file), *ONE_THREAD) as server:
        assert [status(server, key) for key in ("sk-one", "sk-two")] == [200, 401]
        file.write_text("alice:sk-two\n")
        os.utime(file, ns=(unchanged.st_atime_ns, unchanged.st_mtime_ns))
        server.signal(signal.SIGHUP)
        until(lambda: status(server, "sk-two") == 200, "the new key is taken")
        assert status(server, "sk-one") == 401
        file.write_text("a slip\n")
        server.signal(signal.SIGHUP)
        until(lambda: "stay as they were" in server.output, "the slip is complained of")
        assert status(server, "sk-two") == 200
        server.until_ready()
        assert server.engine_pid is not None
        os.kill(server.engine_pid, signal.SIGHUP)
        server.signal()
        assert server.exit_code() == 0, server.output
        assert "starting the engine process again" not in server.output
        assert "sk-" not in server.output
