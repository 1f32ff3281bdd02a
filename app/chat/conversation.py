"""A conversation: what has been said, with which settings the next answer is asked for, and what the last one was."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

OWN_FIELDS = frozenset({"messages", "model", "n", "stream", "stream_options"})
"""Fields of a request that the chat itself gives."""


@dataclass(slots=True)
class Answer:
    """One answer as it comes. Moments are of the monotonic clock; counts are the server's, None until it tells them."""

    asked_at: float
    text: str = ""
    first_at: float | None = None
    last_at: float | None = None
    finish_reason: str | None = None
    num_prompt_tokens: int | None = None
    num_cached_tokens: int | None = None
    num_tokens: int | None = None
    tokens: list[tuple[str, float]] = field(default_factory=list)
    """Text and log probability of each token, if they were asked for."""

    def take_usage(self, usage: dict[str, Any]) -> None:
        """Read what the server counted."""
        self.num_prompt_tokens = usage.get("prompt_tokens")
        self.num_tokens = usage.get("completion_tokens")
        self.num_cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")

    def summary(self) -> str:
        """Tokens, time to the first one, and the rate from there on."""
        parts = [f"{self.num_tokens} token{'s' if self.num_tokens != 1 else ''}"] if self.num_tokens else []
        if self.first_at is not None and self.last_at is not None:
            parts.append(f"TTFT {1000 * (self.first_at - self.asked_at):,.0f} ms")
            if (seconds := self.last_at - self.first_at) > 0 and (self.num_tokens or 0) > 1:
                parts.append(f"{((self.num_tokens or 0) - 1) / seconds:,.0f} tokens/s")
        if self.finish_reason == "length":
            parts.append("cut off by the limit of tokens")
        return ", ".join(parts)


class Conversation:
    """Messages in the form of OpenAI's API. The system message, if there is one, goes before them."""

    def __init__(self, model: str, system: str | None) -> None:
        self.model = model
        self.system = system
        self.settings: dict[str, Any] = {}
        self.last: Answer | None = None
        self._messages: list[dict[str, str]] = []

    def body(self, text: str) -> dict[str, Any]:
        """The request for an answer to `text`, which becomes part of the conversation with its answer."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return {
            **self.settings,
            "model": self.model,
            "messages": [*system, *self._messages, {"role": "user", "content": text}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def add(self, text: str, answer: Answer) -> None:
        """What was asked and what was answered; nothing if nothing was."""
        self.last = answer
        if answer.text:
            self._messages += [{"role": "user", "content": text}, {"role": "assistant", "content": answer.text}]

    def reset(self) -> None:
        """Forget what has been said; the system message and the settings stay."""
        self._messages.clear()
        self.last = None


def parse_value(text: str) -> Any:
    """A value as it is typed: JSON, or else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
