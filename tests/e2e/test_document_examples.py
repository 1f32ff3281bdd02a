"""The examples of all documents, run as they are written on the embedded model; what comes of them is what is shown."""

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

from tests.documents import ROOT, Block, blocks, pages
from tests.e2e.server import ServerProcess

ADDRESS = "http://127.0.0.1:8000"
CALLS = {"sh": f"curl [^\n]*{ADDRESS}/", "python": f'base_url="{ADDRESS}/'}
"""What is in a block that calls a running server, by its language."""

EXAMPLES = [
    block
    for page in pages()
    for block in blocks(page)
    if block.language in CALLS and re.search(CALLS[block.language], block.text)
]
FIRST, API, DEMO = (ROOT / folder / "README.md" for folder in ("", "app/api", "app/demo"))


def run(example: Block, server: ServerProcess) -> str:
    """What the example prints. Skips where there is no curl."""
    if example.language == "sh" and shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    interpreter = {"sh": ["bash", "-euc"], "python": [sys.executable, "-c"]}[example.language]
    command = [*interpreter, example.text.replace(ADDRESS, server.url)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def example(page: Path, word: str) -> Block:
    """The only example of the page that contains the word."""
    [found] = [block for block in EXAMPLES if block.page == page and word in block.text]
    return found


def replies(example: Block, server: ServerProcess) -> list[dict[str, Any]]:
    """The only choice of each answer that the example's commands print."""
    printed = run(example, server)
    return [json.loads(line)["choices"][0] for line in printed.replace("}{", "}\n{").splitlines()]


def outputs(page: Path) -> list[str]:
    """The blocks of the page that show what is printed."""
    return [block.text for block in blocks(page) if not block.language]


def words(text: str) -> str:
    """The text however its lines are broken."""
    return " ".join(text.split())


def shown(page: Path) -> str:
    return words(page.read_text(encoding="utf-8"))


def quoted(page: Path) -> str:
    lines = page.read_text(encoding="utf-8").splitlines()
    return "\n".join(line[2:] for line in lines if line.startswith(">"))


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_an_example_runs_and_prints_no_error(block: Block, demo_server: ServerProcess) -> None:
    printed = run(block, demo_server)
    assert printed.strip()
    assert '"error"' not in printed


def test_the_chat_streams_to_its_end(demo_server: ServerProcess) -> None:
    events = run(example(FIRST, "stream_options"), demo_server).strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    parts = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    text = "".join(part["choices"][0]["delta"].get("content", "") for part in parts if part["choices"])
    assert f"“{text}”" in shown(FIRST)
    usage = json.dumps(parts[-1]["usage"], separators=(",", ":")).split(',"prompt_tokens_details')[0]
    assert usage in outputs(FIRST)[0]


def test_a_story_changes_with_the_temperature(demo_server: ServerProcess) -> None:
    cool, warm = replies(example(DEMO, "Once upon a time"), demo_server)
    assert words(f"Once upon a time{cool['text']}") in words(quoted(DEMO))
    assert warm["text"] not in ("", cool["text"])


def test_a_story_with_a_seed_comes_again_on_the_same_machine(demo_server: ServerProcess) -> None:
    """Which one it is depends on the processor, so the page says on which the one that it shows was made."""
    first, again = (replies(example(DEMO, "Once upon a time"), demo_server)[1]["text"] for _ in range(2))
    assert first == again


def test_code_is_completed(demo_server: ServerProcess) -> None:
    [reply] = replies(example(DEMO, "def "), demo_server)
    assert f"{reply['text']}\n" in outputs(DEMO)


def test_a_stop_sequence_ends_the_text_and_is_not_part_of_it(demo_server: ServerProcess) -> None:
    [reply] = replies(example(API, '"stop": "."'), demo_server)
    assert reply["finish_reason"] == "stop"
    assert f"“{reply['message']['content']}”" in shown(API)


def test_a_text_is_put_into_json(demo_server: ServerProcess) -> None:
    [reply] = replies(example(DEMO, "JSON with the keys"), demo_server)
    assert json.loads(reply["message"]["content"]) == {"name": "Mira", "age": 31, "city": "Oslo"}
    assert f"`{reply['message']['content']}`" in shown(DEMO)


def test_the_client_of_openai_calls_a_tool(demo_server: ServerProcess) -> None:
    assert run(example(API, "get_weather"), demo_server) in outputs(API)


def test_the_conversation_goes_as_it_is_shown(demo_server: ServerProcess) -> None:
    turns = re.findall(r"\*\*You:\*\* (.*?)\n\n\*\*Millrace:\*\*\s(.*?)(?=\n\n\*\*You|\Z)", quoted(DEMO), re.DOTALL)
    assert len(turns) == 6
    messages: list[dict[str, str]] = []
    for asked, answered in turns:
        messages.append({"role": "user", "content": words(asked)})
        body = {"messages": messages, "temperature": 0}
        answer = httpx.post(f"{demo_server.url}/v1/chat/completions", json=body, timeout=60).json()
        messages.append(answer["choices"][0]["message"])
        assert words(messages[-1]["content"]) == words(answered)
