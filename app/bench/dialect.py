"""The form of requests that a server accepts. OpenAI's fields are common to all; some servers reject any others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

LENGTH_FIELDS = ("ignore_eos", "min_tokens")


@dataclass(frozen=True, slots=True)
class Dialect:
    """A route, the form of its prompts, the field that limits the output, and whether the length can be enforced."""

    chat: bool = False
    token_ids: bool = True
    length_fields: tuple[str, ...] = LENGTH_FIELDS
    limit_field: str = "max_tokens"
    include_usage: bool = True

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self.chat else "/v1/completions"

    def body(self, prompt: str | list[int], num_output_tokens: int, model: str | None, temperature: float) -> bytes:
        """The JSON body of a streaming request."""
        fields: dict[str, Any] = {"stream": True, "temperature": temperature, self.limit_field: num_output_tokens}
        if model is not None:
            fields["model"] = model
        if self.include_usage:
            fields["stream_options"] = {"include_usage": True}
        if "ignore_eos" in self.length_fields:
            fields["ignore_eos"] = True
        if "min_tokens" in self.length_fields:
            fields["min_tokens"] = num_output_tokens
        if self.chat:
            fields["messages"] = [{"role": "user", "content": prompt}]
        else:
            fields["prompt"] = prompt
        return json.dumps(fields, separators=(",", ":")).encode()

    def describe(self) -> str:
        fields = " and ".join(self.length_fields) + " accepted" if self.length_fields else "standard fields only"
        usage = "usage from the stream" if self.include_usage else "no usage: one token is counted per event"
        return f"{self.path}, {fields}, {usage}"


def ladder() -> list[Dialect]:
    """The dialects to try, best first: from exact prompt and output lengths down to what every server supports."""
    lengths: list[tuple[str, ...]] = [LENGTH_FIELDS, ("ignore_eos",), ()]
    completions = [Dialect(token_ids=ids, length_fields=names) for ids in (True, False) for names in lengths]
    chats = [Dialect(chat=True, token_ids=False, length_fields=names) for names in lengths]
    newer = Dialect(chat=True, token_ids=False, length_fields=(), limit_field="max_completion_tokens")
    plain = [Dialect(chat=chat, token_ids=False, length_fields=(), include_usage=False) for chat in (False, True)]
    return [*completions, *chats, newer, *plain]
