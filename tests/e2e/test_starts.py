"""A start that is interrupted, or that finds its port taken, says so in a line."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import httpx
import pytest

from tests.e2e.directories import DEMO, TextModel
from tests.e2e.server import ONE_THREAD, printed_by_a_start_that_fails, serving, started, until
from tests.test_hub import put


def test_an_interrupt_before_the_engine_process_can_heed_it_is_a_line_and_no_traceback(model: TextModel) -> None:
    with started(model.directory, *ONE_THREAD) as server:
        until(lambda: server.engine_pid, "the engine process exists")
        until(lambda: "running on" in server.output, "the server heeds signals")
        server.interrupt()
        assert server.exit_code() == 0, server.output
        assert "Stopping before the model is loaded" in server.output
        assert "Traceback" not in server.output
        assert "ERROR" not in server.output


@pytest.mark.slow
def test_a_model_in_the_cache_of_the_hub_is_served_as_its_directory_is(
    model: TextModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "some/miller", model.directory)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with serving("some/miller", "--kv-cache-memory", "64MiB", *ONE_THREAD) as server:
        body = {"model": "some/miller", "prompt": "the mill", "temperature": 0, "max_tokens": 20}
        answer = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60).json()
    assert answer["choices"][0]["text"] == model.continuation("the mill", 20)


def test_a_port_that_is_in_use_is_said_before_anything_is_loaded_with_who_uses_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        [line] = printed_by_a_start_that_fails(DEMO, "--port", str(port))
    assert re.match(rf"millrace: port {port} of 127.0.0.1 is in use by process {os.getpid()} \(.*--port", line)
