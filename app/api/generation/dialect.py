"""What a dialect owns: everything its clients see. The core calls it, and knows no dialect by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any, ClassVar

from fastapi import APIRouter

from app.api.errors import ApiError
from app.api.generation.choices import Piece
from app.api.generation.usage import Usage

Json = dict[str, Any]


class Dialect(ABC):
    """What is the same for every answer of a dialect. Streams send `ping` while there is nothing else to send."""

    ping: ClassVar[str] = ": ping\n\n"

    @abstractmethod
    def error_body(self, error: ApiError) -> str:
        """An error as JSON."""

    @abstractmethod
    def error_events(self, error: ApiError) -> str:
        """The events with which an error ends a stream."""

    def error_headers(self, error: ApiError) -> dict[str, str]:  # noqa: ARG002
        """Headers of an error's response beside HTTP's own, which the error brings itself."""
        return {}


class Answer(ABC):
    """How one generation is written. `id` is what the client and the log call the answer."""

    id: str

    @abstractmethod
    def write(self, piece: Piece) -> str:
        """The events of a stream that show a piece; empty if there is nothing to show yet."""

    @abstractmethod
    def end(self, usage: Usage) -> str:
        """The events that end a stream in which every piece has been written."""

    @abstractmethod
    def whole(self, choices: Seq[Piece], usage: Usage) -> Json:
        """The answer that is not streamed. Each piece is a whole choice. Iterators stand for arrays."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Routes that generate, and answer in `dialect`. `operation` is OpenTelemetry's name for what they do."""

    router: APIRouter
    dialect: Dialect
    operation: str


def endpoints_by_path(endpoints: Seq[Endpoint]) -> Mapping[str, Endpoint]:
    """Each endpoint by the paths of its routes."""
    return {route.path: endpoint for endpoint in endpoints for route in endpoint.router.routes}  # type: ignore[attr-defined]
