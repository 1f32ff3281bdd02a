"""What all request bodies share: strict types, and nothing that is ignored."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

MOST_SHOWN = 64
"""Characters of what a client sent that an error shows, and of a name that are compared with the known ones, which
takes time for each."""


def shortened(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


def refusal(code: str, message: str, *path: str | int) -> PydanticCustomError:
    """An error of a validator whose message stands as it is; `path` leads on from the value being validated."""
    return PydanticCustomError(code, "{message}", {"message": message, "path": path})


class RequestModel(BaseModel):
    """A JSON object of a request.

    A null means that the field was left out. A field of `not_done` is refused by name unless its value is one of
    those listed for it, which ask for nothing; an unknown field is refused with the nearest known name.
    """

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    not_done: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_ignored(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = cls.model_fields
        given = {name: value for name, value in data.items() if value is not None}
        for name, value in given.items():
            if name in known:
                continue
            if name not in cls.not_done:
                raise refusal("unknown_parameter", _unknown(name, [*known, *cls.not_done]), name)
            if value not in cls.not_done[name]:
                raise refusal("unsupported_parameter", f"'{name}' is not supported by this server yet.", name)
        return {name: value for name, value in given.items() if name in known}


def _unknown(name: str, known: list[str]) -> str:
    shown = shortened(name)
    nearest = difflib.get_close_matches(shown, known, n=1)
    return f"'{shown}' is not a known field." + (f" Did you mean '{nearest[0]}'?" if nearest else "")
