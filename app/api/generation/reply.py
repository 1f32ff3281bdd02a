"""How an endpoint writes a generation: the parts that differ between completions and chat."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from app.api.generation.choices import Piece
from app.text.tokenizer import Tokenizer

Json = dict[str, Any]


class Reply(ABC):
    """One answer of an endpoint. Its id, model and time stand in every chunk of it."""

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
        """The piece as pieces that are each of one kind; none if it is not known yet what it is."""
        return [piece]

    @abstractmethod
    def chunks(self, piece: Piece) -> list[Json]:
        """A piece that was read, as choices of a stream, one for each chunk to be sent; none if it shows nothing."""

    @abstractmethod
    def choice(self, piece: Piece) -> Json:
        """A whole choice, which `piece` holds from beginning to end."""
