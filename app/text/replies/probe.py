"""Conversations with marked values, applied to a chat template to see what it writes around them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.text.replies.markup import ID, NUMBER

Messages = Sequence[Mapping[str, Any]]

Render = Callable[..., str]
"""Applies a chat template to `messages`, with `tools` and further variables by keyword; raises ChatTemplateError."""

FIRST, SECOND = "probe_alpha", "probe_beta"
ARGUMENTS: dict[str, Any] = {"key_alpha": "Value alpha", "key_beta": 71}
CONTENT, REASONING = "Content probe", "Reasoning probe"
IDS = ("probeid01", "probeid02")
"""Mistral takes nine letters or digits."""

USER = {"role": "user", "content": "Question probe"}
_PARAMETERS = {
    "type": "object",
    "properties": {
        "key_alpha": {"type": "string", "description": "A text."},
        "key_beta": {"type": "integer", "description": "A number."},
    },
    "required": ["key_alpha"],
}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "A tool.", "parameters": _PARAMETERS}}
    for name in (FIRST, SECOND)
]


def call(number: int, arguments: Any) -> dict[str, Any]:
    function = {"name": (FIRST, SECOND)[number], "arguments": arguments}
    return {"id": IDS[number], "type": "function", "function": function}


def calling(*calls: Mapping[str, Any], content: str | None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


@dataclass(frozen=True, slots=True)
class Probe:
    """Shows what a template makes of conversations. What it does not accept is an empty text."""

    render: Render

    def __call__(self, *messages: Mapping[str, Any], tools: bool = False, **variables: Any) -> str:
        variables = {"add_generation_prompt": False} | variables
        try:
            return self.render(messages, tools=TOOLS if tools else None, **variables)
        except ValueError:
            return ""

    def turn(self, *messages: Mapping[str, Any], tools: bool = False) -> str:
        """The last of the messages, of the assistant, as a reply: behind the prompt that it answers."""
        text = self(*messages, tools=tools)
        prompts = [self(*messages[:-1], tools=tools, add_generation_prompt=ends) for ends in (True, False)]
        return text[max(_common(text, _without_reasoning(prompt)) for prompt in prompts) :]


def neutral(text: str) -> str:
    """A text of markup with ID and NUMBER for what differs from call to call."""
    for each in IDS:
        text = text.replace(each, ID)
    return re.sub(r"(?<!\w)\d+(?!\w)", NUMBER, text)


_OPENED = re.compile(r"(?:<[^<>\s]*think[^<>\s]*>|\[/?THINK\])\s*(?:</[^<>\s]*think[^<>\s]*>\s*|\[/THINK\]\s*)?$", re.I)


def _without_reasoning(prompt: str) -> str:
    """A prompt without the reasoning that it begins, and perhaps ends."""
    return _OPENED.sub("", prompt)


def _common(text: str, other: str) -> int:
    """The length of what both begin with."""
    size = min(len(text), len(other))
    return next((at for at in range(size) if text[at] != other[at]), size)
