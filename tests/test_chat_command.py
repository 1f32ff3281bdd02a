"""`millrace chat` as its users have it: a process in a terminal, or in a pipe, that talks to a server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from app.api.gate.access import AccessRules
from app.api.gate.keys import KeyRing
from app.chat.cli import KEY_VARIABLE
from app.chat.conversation import Answer
from app.chat.session import read_event
from tests.scripted_engine import ScriptedEngine, ids, listening, make_app, small
from tests.terminal import CTRL_C, CTRL_D, ROOT, Terminal, in_terminal

ROOM = small(max_model_len=400)


@asynccontextmanager
async def chatting(
    engine: ScriptedEngine, *options: str, variables: Mapping[str, str] | None = None
) -> AsyncIterator[Terminal]:
    """The command in a terminal, and the server that it talks to."""
    async with listening(make_app(engine)) as (url, _):
        with in_terminal("chat", url, *options, variables=variables) as terminal:
            await asyncio.to_thread(terminal.until, "tiny on http.*\n.*> ")
            yield terminal


async def say(terminal: Terminal, line: str, answer: str) -> str:
    """Type a line. Returns what is shown from it on to a pattern and the next prompt."""
    since = len(terminal.text)
    terminal.type(line + "\r")
    await asyncio.to_thread(terminal.until, answer + r"[\s\S]*\n[^\n]*> $", since)
    return terminal.text[since:]


def prompts(engine: ScriptedEngine) -> list[str]:
    return [bytes(each.prompt_token_ids).decode() for each in engine.submissions]


async def test_an_answer_streams_and_is_remembered_with_what_it_took() -> None:
    engine = ScriptedEngine(ids("good day"), ready=ROOM)
    async with chatting(engine, "--system", "be kind") as terminal:
        shown = await say(terminal, "hello", "good day")
        assert "8 tokens, TTFT" in shown
        assert "tokens/s" in shown
        await say(terminal, "again", "good day")
        terminal.type(CTRL_D)
        assert await asyncio.to_thread(terminal.exit_code) == 0
    assert prompts(engine) == [
        "system:be kind|user:hello|assistant:",
        "system:be kind|user:hello|assistant:good day|user:again|assistant:",
    ]


async def test_a_new_conversation_forgets_and_a_system_message_stays() -> None:
    engine = ScriptedEngine(ids("yes"), ready=ROOM)
    async with chatting(engine) as terminal:
        await say(terminal, "one", "yes")
        await say(terminal, "/reset", "A new conversation")
        await say(terminal, "/system be brief", "from the next answer on")
        await say(terminal, "two", "yes")
        terminal.type("/quit\r")
        assert await asyncio.to_thread(terminal.exit_code) == 0
    assert prompts(engine)[1] == "system:be brief|user:two|assistant:"


async def test_a_setting_reaches_the_server_and_a_refused_one_is_taken_back_in_its_words() -> None:
    engine = ScriptedEngine(ids("yes"), ready=ROOM)
    async with chatting(engine) as terminal:
        await say(terminal, "/set temperature 0.7", "temperature = 0.7")
        await say(terminal, "one", "yes")
        await say(terminal, "/set temprature 1", "temprature = 1")
        shown = await say(terminal, "two", "temprature is the server's default again")
        assert "not a field" in shown or "known" in shown, shown
        await say(terminal, "two", "yes")
        assert "the chat's own" in await say(terminal, "/set stream false", "stream")
    assert [each.params.temperature for each in engine.submissions] == [0.7, 0.7]
    assert prompts(engine)[1] == "user:one|assistant:yes|user:two|assistant:"


async def test_ctrl_c_stops_the_answer_and_keeps_what_has_come() -> None:
    engine = ScriptedEngine(ready=ROOM)
    async with chatting(engine) as terminal:
        terminal.type("tell me\r")
        await engine.until(lambda: len(engine.submissions) == 1)
        engine.write("once upon")
        await asyncio.to_thread(terminal.until, "once upon")
        terminal.type(CTRL_C)
        await engine.until(lambda: bool(engine.closed))
        await asyncio.to_thread(terminal.until, r"stopped[\s\S]*> $")
        terminal.type("go on\r")
        await engine.until(lambda: len(engine.submissions) == 2)
        engine.write(" a time", 1)
        engine.end(index=1)
        await asyncio.to_thread(terminal.until, r" a time[\s\S]*> $")
        terminal.type(CTRL_D)
        assert await asyncio.to_thread(terminal.exit_code) == 0
        assert "Traceback" not in terminal.text
    assert prompts(engine)[1] == "user:tell me|assistant:once upon|user:go on|assistant:"


async def test_the_tokens_of_an_answer_are_shown_with_how_likely_they_were() -> None:
    engine = ScriptedEngine(ids("ab"), ready=ROOM)
    async with chatting(engine) as terminal:
        await say(terminal, "/tokens", "There is no answer yet")
        await say(terminal, "/set logprobs true", "logprobs = true")
        await say(terminal, "x", "ab")
        shown = await say(terminal, "/tokens", "ended by stop")
    assert "answer 2, together 19 of 400" in shown
    assert '36.8 %  "a"' in shown


async def test_help_lists_every_command_that_it_takes() -> None:
    async with chatting(ScriptedEngine(ids("yes"), ready=ROOM)) as terminal:
        shown = await say(terminal, "/help", "/quit")
        for command in ("/system", "/set", "/tokens", "/reset", "/help", "/quit"):
            assert command in shown
        await say(terminal, "/xyzzy", "There is no /xyzzy")


async def piped(url: str, text: str, *options: str, variables: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, output and errors of the command in a pipe."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "chat", url, *options),
        cwd=ROOT,
        env=dict(variables) if variables else None,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(text.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_message_in_a_pipe_is_answered_once_in_plain_text() -> None:
    engine = ScriptedEngine(ids("good day"), ready=ROOM)
    async with listening(make_app(engine)) as (url, _):
        assert await piped(url, "hello\n") == (0, "good day\n", "")
    assert prompts(engine) == ["user:hello|assistant:"]


async def test_a_server_with_keys_is_talked_to_with_one() -> None:
    engine = ScriptedEngine(ids("yes"), ready=ROOM)
    async with listening(make_app(engine, access=AccessRules(keys=KeyRing("ann:secret")))) as (url, _):
        code, out, err = await piped(url, "hello")
        assert (code, out) == (1, "")
        assert err.startswith("millrace: ")
        assert len(err.splitlines()) == 1
        assert (await piped(url, "hello", "--api-key", "secret"))[:2] == (0, "yes\n")
        assert (await piped(url, "hello", variables={KEY_VARIABLE: "secret"}))[:2] == (0, "yes\n")


@pytest.mark.parametrize("url", ["127.0.0.1:1", "ftp://127.0.0.1", "http://127.0.0.1:http"])
async def test_a_server_that_is_not_there_is_a_sentence(url: str) -> None:
    code, out, err = await piped(url, "hello")
    assert (code, out) == (1, "")
    assert err.startswith("millrace: ")
    assert len(err.splitlines()) == 1


def test_reasoning_is_told_apart_and_is_no_part_of_the_answer() -> None:
    answer = Answer(0.0)
    thinking = read_event({"choices": [{"delta": {"reasoning_content": "hm"}}]}, answer)
    speaking = read_event({"choices": [{"delta": {"content": "yes"}, "finish_reason": "stop"}]}, answer)
    assert (thinking, speaking) == ([("hm", True)], [("yes", False)])
    assert (answer.text, answer.finish_reason) == ("yes", "stop")
