"""How a generation is written in OpenAI's shapes, and what differs between completions and chat."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from typing import ClassVar

from app.api.generation.choices import Piece
from app.api.generation.dialect import Json
from app.api.generation.usage import Usage
from app.text.tokenizer import Tokenizer


class Reply(ABC):
    """The JSON of one answer. Its id, model and time are in each of its chunks.

    The finish reasons that reach it, `stop` and `length`, are called the same by OpenAI.
    """

    id_prefix: ClassVar[str]
    object: ClassVar[str]
    chunk_object: ClassVar[str]

    def __init__(self, model: str, tokenizer: Tokenizer, num_logprobs: int | None) -> None:
        self.tokenizer = tokenizer
        self.num_logprobs = num_logprobs
        self.id = f"{self.id_prefix}-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = model

    def envelope(self, kind: str) -> Json:
        """The fields around the choices."""
        return {"id": self.id, "object": kind, "created": self._created, "model": self._model}

    def read(self, piece: Piece) -> list[Piece]:
        """Split a piece into pieces of one kind each; empty while the kind is undecided."""
        return [piece]

    @abstractmethod
    def chunks(self, piece: Piece) -> list[Json]:
        """The choices that show a piece from `read` in a stream, one a chunk; none if there is nothing to show."""

    @abstractmethod
    def choice(self, piece: Piece) -> Json:
        """A whole choice, which `piece` holds from beginning to end."""


def usage_object(usage: Usage) -> Json:
    """Token counts under OpenAI's names."""
    return {
        "prompt_tokens": usage.num_prompt_tokens,
        "completion_tokens": usage.num_output_tokens,
        "total_tokens": usage.num_prompt_tokens + usage.num_output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.num_cached_tokens},
    }
