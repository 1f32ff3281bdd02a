"""The examples of the README's "Talk to it", run as they are written, on the embedded model, and what came of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.server import ServerProcess

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.split("\n## Talk to it\n")[1].split("\n### In the browser\n")[0]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)
SHELL, PYTHON, OUTPUT = ([text for found, text in BLOCKS if found == kind] for kind in ("sh", "python", ""))
QUOTED = "\n".join(line[2:] for line in SECTION.splitlines() if line.startswith(">"))
CONVERSATION = re.findall(r"\*\*You:\*\* (.*?)\n\n\*\*Millrace:\*\*\s(.*?)(?=\n\n\*\*You|\Z)", QUOTED, re.DOTALL)
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


def words(text: str) -> str:
    """The text whatever its lines."""
    return " ".join(text.split())


def test_the_chat_streams_to_its_end(demo_server: ServerProcess) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    events = run(example("stream_options"), demo_server, "bash", "-euc").strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    parts = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    text = "".join(part["choices"][0]["delta"].get("content", "") for part in parts if part["choices"])
    assert f"“{text}”" in words(SECTION)
    assert json.dumps(parts[-1]["usage"], separators=(",", ":")).split(',"prompt_tokens_details')[0] in OUTPUT[0]


def test_a_story_changes_with_the_temperature(demo_server: ServerProcess) -> None:
    cool, warm = replies(example("Once upon a time"), demo_server)
    assert words(f"Once upon a time{cool['text']}") in words(QUOTED)
    assert warm["text"] not in ("", cool["text"])


def test_a_story_with_a_seed_comes_again_on_the_same_machine(demo_server: ServerProcess) -> None:
    """Which one it is depends on the processor, so the README says on which the one that it shows was told."""
    first, again = (replies(example("Once upon a time"), demo_server)[1]["text"] for _ in range(2))
    assert first == again


def test_code_is_completed(demo_server: ServerProcess) -> None:
    [reply] = replies(example("def "), demo_server)
    assert OUTPUT[1] == f"{reply['text']}\n"


def test_a_stop_sequence_ends_the_text_and_is_not_part_of_it(demo_server: ServerProcess) -> None:
    [reply] = replies(example('"stop": "."'), demo_server)
    assert reply["finish_reason"] == "stop"
    assert f"“{reply['message']['content']}”" in words(SECTION)


def test_a_text_is_put_into_json(demo_server: ServerProcess) -> None:
    [reply] = replies(example("JSON with the keys"), demo_server)
    assert json.loads(reply["message"]["content"]) == {"name": "Mira", "age": 31, "city": "Oslo"}
    assert f"`{reply['message']['content']}`" in SECTION


def test_the_client_of_openai_streams_a_text_and_calls_a_tool(demo_server: ServerProcess) -> None:
    streaming, calling = PYTHON
    alone = run(streaming, demo_server, sys.executable, "-c").strip()
    assert alone
    printed = run(f"{streaming}\nprint()\n{calling}", demo_server, sys.executable, "-c")
    assert printed.endswith(f"\n{OUTPUT[2]}")


def test_the_conversation_goes_as_it_is_told(demo_server: ServerProcess) -> None:
    assert len(CONVERSATION) == 6
    messages: list[dict[str, str]] = []
    for asked, told in CONVERSATION:
        messages.append({"role": "user", "content": words(asked)})
        body = {"messages": messages, "temperature": 0}
        answer = httpx.post(f"{demo_server.url}/v1/chat/completions", json=body, timeout=60).json()
        messages.append(answer["choices"][0]["message"])
        assert words(messages[-1]["content"]) == words(told)
