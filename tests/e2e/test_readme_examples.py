"""The examples of the README's "Talk to it", run as they are written, on the embedded model."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import ServerProcess

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.split("\n## Talk to it\n")[1].split("\n### In the browser\n")[0]
SHELL, PYTHON = (re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL) for language in ("sh", "python"))
ADDRESS = "http://127.0.0.1:8000"


def run(example: str, server: ServerProcess, *interpreter: str) -> str:
    assert ADDRESS in example
    command = [*interpreter, example.replace(ADDRESS, server.url)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def replies(example: str, server: ServerProcess) -> list[dict[str, Any]]:
    """The only choice of each reply that the example's commands print."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    printed = run(example, server, "bash", "-euc")
    return [json.loads(line)["choices"][0] for line in printed.replace("}{", "}\n{").splitlines()]


def example(word: str) -> str:
    """The only example in which the word stands."""
    [found] = [block for block in SHELL if word in block]
    return found


def test_the_chat_streams_to_its_end(demo_server: ServerProcess) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    events = run(example("stream_options"), demo_server, "bash", "-euc").strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    parts = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    text = "".join(part["choices"][0]["delta"].get("content", "") for part in parts if part["choices"])
    assert "keys and values" in text
    assert parts[-1]["usage"]["completion_tokens"] > 5


def test_a_story_changes_with_the_temperature(demo_server: ServerProcess) -> None:
    cool, warm = replies(example("Once upon a time"), demo_server)
    assert cool["text"]
    assert warm["text"] not in ("", cool["text"])


def test_code_is_completed(demo_server: ServerProcess) -> None:
    [reply] = replies(example("def "), demo_server)
    assert "return" in reply["text"]


def test_a_stop_sequence_ends_the_text_and_is_not_part_of_it(demo_server: ServerProcess) -> None:
    [reply] = replies(example('"stop": "."'), demo_server)
    assert reply["finish_reason"] == "stop"
    assert reply["message"]["content"].endswith(" has already read")


def test_the_client_of_openai_streams_a_text(demo_server: ServerProcess) -> None:
    [program] = PYTHON
    assert run(program, demo_server, sys.executable, "-c").strip()
