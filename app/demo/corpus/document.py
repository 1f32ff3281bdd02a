"""What the generator of training text hands out."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypedDict

Role = Literal["system", "user", "assistant", "tool"]


class Message(TypedDict):
    """One message, in the form that chat templates take.

    What the assistant says holds its markup literally: `<think>\\n…\\n</think>\\n\\n` before the answer, and
    `<tool_call>\\n{"name": …, "arguments": …}\\n</tool_call>`, as Qwen and Hermes write it.
    """

    role: Role
    content: str


class Exchange(NamedTuple):
    """One question and its answer."""

    user: str
    assistant: str


@dataclass(frozen=True)
class PlainText:
    """A text to continue, as /v1/completions sees it."""

    kind: str
    text: str


@dataclass(frozen=True)
class Chat:
    """A conversation, as /v1/chat/completions sees it.

    `tools` are in OpenAI's form, `{"type": "function", "function": {…}}`. With `thinking` the chat was begun with
    `enable_thinking`, and each answer starts with a block of thought; without it only where the user asks for one.
    """

    kind: str
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    thinking: bool = False


Document = PlainText | Chat
