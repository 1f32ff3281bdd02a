"""What the generator of training text hands out."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypedDict

Role = Literal["system", "user", "assistant"]


class Message(TypedDict):
    """One message, in the form that chat templates take."""

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
    """A conversation, as /v1/chat/completions sees it."""

    kind: str
    messages: tuple[Message, ...]


Document = PlainText | Chat
