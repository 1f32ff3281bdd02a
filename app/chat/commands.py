"""What can be typed beside messages: lines that begin with a slash."""

from __future__ import annotations

import json
from math import exp

from app.chat.conversation import OWN_FIELDS, Conversation, parse_value

HELP = """\
/system TEXT       give the model a system message; without TEXT, none
/set NAME VALUE    a field of the request, like /set temperature 0.7 or
                   /set stop ["\\n\\n"]; without VALUE, the server's default again;
                   without NAME, what is set
/tokens            what the last answer took: tokens of the prompt (and how many of
                   them were cached) and of the answer, and how it ended. After
                   /set logprobs true also each token and how likely it was.
/reset             begin a new conversation; system message and settings stay
/help              this
/quit              end, as Ctrl-D does
Ctrl-C stops an answer; what has come stays part of the conversation."""


class Quit(Exception):
    """The user ends the chat."""


def run_command(line: str, conversation: Conversation, max_model_len: int | None) -> str:
    """Do what a line that begins with a slash asks for. Returns what to show. Raises Quit."""
    name, _, rest = line.partition(" ")
    rest = rest.strip()
    match name:
        case "/help":
            return HELP
        case "/quit" | "/exit":
            raise Quit
        case "/reset":
            conversation.reset()
            return "A new conversation."
        case "/system":
            conversation.system = rest or None
            return "The system message holds from the next answer on." if rest else "No system message."
        case "/set":
            return _set(rest, conversation)
        case "/tokens":
            return _tokens(conversation, max_model_len)
    return f"There is no {name}; /help lists what there is."


def _set(rest: str, conversation: Conversation) -> str:
    name, _, value = rest.partition(" ")
    settings = conversation.settings
    if not name:
        return "\n".join(f"{each} = {json.dumps(settings[each])}" for each in settings) or "Nothing is set."
    if name in OWN_FIELDS:
        return f"{name} is the chat's own; --model and /system are what can be chosen."
    if not value.strip():
        settings.pop(name, None)
        return f"{name} is the server's default."
    settings[name] = parse_value(value.strip())
    return f"{name} = {json.dumps(settings[name])}"


def _tokens(conversation: Conversation, max_model_len: int | None) -> str:
    answer = conversation.last
    if answer is None:
        return "There is no answer yet."
    if answer.num_tokens is None or answer.num_prompt_tokens is None:
        return "The last answer was cut short, so the server reported no token counts for it."
    cached = f" ({answer.num_cached_tokens} of them cached)" if answer.num_cached_tokens else ""
    room = f" of {max_model_len:,}" if max_model_len else ""
    lines = [
        f"prompt {answer.num_prompt_tokens:,} tokens{cached}, answer {answer.num_tokens:,}, "
        f"together {answer.num_prompt_tokens + answer.num_tokens:,}{room}; ended by {answer.finish_reason}"
    ]
    lines += [f"{100 * exp(logprob):6.1f} %  {json.dumps(text, ensure_ascii=False)}" for text, logprob in answer.tokens]
    return "\n".join(lines)
