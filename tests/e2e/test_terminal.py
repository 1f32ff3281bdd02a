"""A start and a stop as someone at a terminal of 80 columns sees them."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.e2e.directories import DEMO, TextModel
from tests.e2e.server import ONE_THREAD, ROOT, command, environment
from tests.e2e.streams import Reading, all_begun
from tests.terminal import COLUMNS, CTRL_C, in_terminal

SMALL = ("--port", "0", "--kv-cache-memory", "64MiB", *ONE_THREAD)
ENDLESS = {"prompt": "the miller", "temperature": 0, "max_tokens": 8000}
READY = r"Ready after \d+ s: (http://127\.0\.0\.1:\d+) serves miller"
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


async def test_a_start_is_one_line_that_changes_and_one_that_stays_and_ctrl_c_says_what_it_waits_for(
    model: TextModel,
) -> None:
    # Everybody may use a server that listens on all addresses, which is a warning above the line that changes.
    options = ("--host", "0.0.0.0", "--drain-seconds", "300")
    with in_terminal("serve", str(model.directory), *SMALL, *options) as terminal:
        url = (await asyncio.to_thread(terminal.until, READY))[1]
        start = terminal.text
        for phase in ("importing torch", "loading the weights"):
            assert f"Loading miller: {phase}" in start
        [warning, ready, *rest] = shown(start)
        assert re.match(r"[-\d]+ [:.\d]+ WARNING .*: Anybody who reaches 0\.0\.0\.0 may use this server", warning)
        assert (url in ready, len(ready) < COLUMNS) == (True, True)
        assert " ".join(rest).endswith("Ctrl-C stops.")
        async with httpx.AsyncClient(timeout=60) as client:
            endless = Reading(client, url, ENDLESS)
            await all_begun([endless])
            terminal.type(CTRL_C)
            await asyncio.to_thread(terminal.until, "Finishing 1 answer, up to 300 s; Ctrl-C again stops now\n")
            terminal.type(CTRL_C)
            await asyncio.to_thread(terminal.until, "Stopping now\n")
            *_, error, _ = await endless.end()
        assert error["error"]["code"] == "aborted"
        assert await asyncio.to_thread(terminal.exit_code) == 0
        assert "Traceback" not in terminal.text
        assert "vicorn" not in terminal.text


def shown(text: str) -> list[str]:
    """The lines that are left to see: of each, what was written after it was last erased."""
    lines = [line.rsplit("\r", 1)[-1] for line in text.split("\n")]
    return [line for line in (ESCAPES.sub("", each) for each in lines) if line]


def test_ctrl_c_while_the_model_loads_ends_at_once(model: TextModel) -> None:
    with in_terminal("serve", str(model.directory), *SMALL) as terminal:
        terminal.until("importing torch")
        terminal.type(CTRL_C)
        assert terminal.exit_code() == 0
        assert shown(terminal.text)[-1] == "Stopping before the model is loaded"


def test_ctrl_c_before_anything_is_imported_is_a_line(model: TextModel) -> None:
    with in_terminal("serve", str(model.directory), *SMALL) as terminal:
        terminal.until("Loading miller: starting")
        terminal.type(CTRL_C)
        assert terminal.exit_code() in (0, 130)
        assert "Traceback" not in terminal.text


@pytest.mark.slow
def test_every_line_is_an_object_where_the_log_is_json_though_a_terminal_reads_it(tmp_path: Path) -> None:
    with in_terminal("serve", "demo", *SMALL, "--log-format", "json") as terminal:
        terminal.until("Ready after")
        terminal.type(CTRL_C)
        assert terminal.exit_code() == 0
        lines = [json.loads(line.removeprefix("^C")) for line in terminal.text.splitlines()]
    assert {"Stopping: no answers are open", "Loading millrace-demo: importing torch, 2%"} <= {
        line["message"] for line in lines
    }
    with in_terminal("serve", str(tmp_path), "--port", "0", "--log-format", "json") as terminal:
        assert terminal.exit_code() == 1
        assert json.loads(terminal.text)["message"].startswith(f"{tmp_path} is empty; ")


# Mistakes


@contextmanager
def hub_without_models() -> Iterator[str]:
    """An address that answers as the hub does where there is no such model."""

    class NotFound(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), NotFound) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def mistake(*arguments: str | Path, variables: dict[str, str] | None = None) -> tuple[int, str]:
    """The code and the one sentence that a start ends with."""
    model, *options = arguments
    ended = subprocess.run(
        command(model, *map(str, options)),
        cwd=ROOT,
        env=environment() | (variables or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    [line] = ended.stderr.splitlines()
    assert ended.stdout == ""
    return ended.returncode, line.removeprefix("millrace: ")


def test_a_mistake_is_one_sentence_before_anything_is_loaded(tmp_path: Path) -> None:
    assert mistake(tmp_path / "none") == (2, f"model: there is no directory {tmp_path / 'none'}")
    code, line = mistake(tmp_path)
    assert (code, line.startswith(f"{tmp_path} is empty; ")) == (1, True)
    assert mistake(DEMO, "--prot", "1") == (
        2,
        "there is no option --prot; did you mean --port? `millrace serve --help` lists all",
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, line = mistake(DEMO, "--port", str(taken.getsockname()[1]))
    assert (code, " is in use by process " in line) == (1, True)


@pytest.mark.parametrize("name", ["some/miller", "miller"])
def test_a_model_that_the_hub_does_not_have_is_one_sentence(name: str, tmp_path: Path) -> None:
    cache = {"HF_HUB_CACHE": str(tmp_path)}
    with hub_without_models() as hub:
        code, line = mistake(name, variables=cache | {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0"})
    assert (code, line.startswith(f"there is no directory {name!r}, and the hub has no model of that name")) == (
        1,
        True,
    )
    code, line = mistake(name, variables=cache)
    assert (code, "HF_HUB_OFFLINE" in line) == (1, True)
    code, line = mistake("not/a/name", variables=cache)
    assert (code, line.endswith("a model on the hub is named like owner/name")) == (1, True)
