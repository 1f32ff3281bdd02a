"""The loop of a chat: read a line, show the answer; or one message from a pipe, and one answer."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from time import monotonic
from typing import Any

from app.chat.client import ChatError, Client, Model
from app.chat.commands import Quit, run_command
from app.chat.conversation import Answer, Conversation
from app.chat.terminal import Screen, edit_lines

REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Where servers stream what a model thinks before it answers."""


def run_chat(url: str, api_key: str | None, model: str | None, system: str | None) -> int:
    """Talk to the server at `url`. Returns the exit code."""
    try:
        client = Client(url, api_key)
        chosen = choose_model(client, model)
        conversation = Conversation(chosen.name, system)
        if sys.stdin.isatty():
            talk(client, conversation, chosen.max_model_len)
        else:
            answer_once(client, conversation, sys.stdin.read())
    except ChatError as error:
        print(f"millrace: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads standard output has enough; nothing more may be written at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def choose_model(client: Client, name: str | None) -> Model:
    """The model of that name, or the first. A name that the server does not list is its own to refuse."""
    models = client.models()
    if name is not None:
        return next((each for each in models if each.name == name), Model(name, None))
    if not models:
        raise ChatError(f"{client.url} has no model")
    return models[0]


def answer_once(client: Client, conversation: Conversation, text: str) -> None:
    """Write the answer to one message, and nothing else. Raises ChatError."""
    if not text.strip():
        raise ChatError("there is no message on standard input")
    answer = Answer(monotonic())
    with closing(client.stream(conversation.body(text.strip()))) as events:
        for event in events:
            for piece, is_reasoning in read_event(event, answer):
                if not is_reasoning:
                    print(piece, end="", flush=True)
    print()


def talk(client: Client, conversation: Conversation, max_model_len: int | None) -> None:
    """Answer lines until the user ends it."""
    screen = Screen()
    edit_lines()
    screen.note(f"{conversation.model} on {client.url}; /help lists commands, Ctrl-D ends")
    while True:
        try:
            line = input("> ").strip()
        except KeyboardInterrupt:
            print()
            continue
        except EOFError:
            print()
            return
        try:
            if line.startswith("/"):
                screen.note(run_command(line, conversation, max_model_len))
            elif line:
                answer_line(client, conversation, screen, line)
        except Quit:
            return


def answer_line(client: Client, conversation: Conversation, screen: Screen, text: str) -> None:
    """Show the answer to one message as it comes, what it took, and what went wrong with it."""
    answer, failure, was_stopped = Answer(monotonic()), None, False
    try:
        show(client, conversation.body(text), answer, screen)
    except KeyboardInterrupt:
        was_stopped = True
        screen.write("\n")  # the terminal has shown ^C
    except ChatError as error:
        failure = error
    conversation.add(text, answer)
    screen.end_line()
    if failure is not None:
        screen.note(explain(failure, conversation))
    elif summary := ", ".join(filter(None, [answer.summary(), "stopped" if was_stopped else ""])):
        screen.note(summary)


def show(client: Client, body: dict[str, Any], answer: Answer, screen: Screen) -> None:
    """Write an answer to the screen. Raises ChatError."""
    thought = False
    with closing(client.stream(body)) as events:
        for event in events:
            for piece, is_reasoning in read_event(event, answer):
                if thought and not is_reasoning:
                    screen.end_line()
                thought = is_reasoning
                screen.write(piece, dim=is_reasoning)


def read_event(event: dict[str, Any], answer: Answer) -> list[tuple[str, bool]]:
    """Add an event to an answer. Returns its pieces of text, each with whether it is reasoning."""
    if usage := event.get("usage"):
        answer.take_usage(usage)
    pieces: list[tuple[str, bool]] = []
    for choice in event.get("choices") or ():
        delta = choice.get("delta") or {}
        pieces += [(delta[name], True) for name in REASONING_FIELDS if delta.get(name)][:1]
        if content := delta.get("content"):
            answer.text += content
            pieces.append((content, False))
        logprobs = (choice.get("logprobs") or {}).get("content") or ()
        answer.tokens += [(token["token"], token["logprob"]) for token in logprobs]
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
    if pieces:
        answer.last_at = monotonic()
        answer.first_at = answer.first_at or answer.last_at
    return pieces


def explain(failure: ChatError, conversation: Conversation) -> str:
    """What the server said. A setting that it refuses is taken back, or no further message would be answered."""
    if failure.param in conversation.settings:
        del conversation.settings[failure.param]
        return f"{failure}\n{failure.param} is the server's default again; send the message once more."
    return str(failure)
