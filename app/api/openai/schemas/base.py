"""What all request bodies share: strict types, and nothing that is ignored."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

MAX_FAULTS = 20
"""Faults of one request that are described; of others it is only said that they are there."""

MAX_SHOWN_CHARACTERS = 64
"""Characters of what a client sent that an error shows, and of a name that are compared with the known ones, which
takes time for each."""


def shortened(text: str) -> str:
    return cut(text, MAX_SHOWN_CHARACTERS)


def cut(text: str, most: int) -> str:
    """The beginning of `text`, with an ellipsis where it is longer than `most` characters."""
    return text if len(text) <= most else text[:most] + "…"


def refusal(code: str, message: str, *path: str | int) -> PydanticCustomError:
    """An error of a validator whose message stands as it is; `path` leads on from the value being validated."""
    return PydanticCustomError(code, "{message}", {"message": message, "path": path})


class RequestModel(BaseModel):
    """A JSON object of a request.

    A null means that the field was left out. A field of `not_done` is refused by name unless its value is one of
    those listed for it, which ask for nothing; an unknown field is refused with the nearest known name. All that is at
    fault is reported together: such fields, those of a wrong value, and where all values are right, `disagreements`.
    """

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    not_done: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def disagreements(self) -> Iterator[PydanticCustomError]:
        """What is wrong with fields that are each right by themselves."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _nothing_is_ignored(cls, data: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(data, ValidationError):
            raise data  # found elsewhere already: see `JsonRequest.json`
        if not isinstance(data, dict):
            return validate(data)
        given = {name: value for name, value in data.items() if value is not None}
        known = {name: value for name, value in given.items() if name in cls.model_fields}
        faults = [_details(fault, data) for fault in cls._not_taken(given)] if len(known) < len(given) else []
        try:
            model = validate(known)
            faults += [_details(fault, data) for fault in model.disagreements()]
        except ValidationError as error:
            faults += _details_of(error)
        if faults:
            raise ValidationError.from_exception_data(cls.__name__, faults[: MAX_FAULTS + 1])
        return model

    @classmethod
    def _not_taken(cls, given: dict[str, Any]) -> Iterator[PydanticCustomError]:
        for name in given:
            if name in cls.model_fields:
                continue
            if name not in cls.not_done:
                yield refusal("unknown_parameter", _unknown(shortened(name), (*cls.model_fields, *cls.not_done)), name)
            elif given[name] not in cls.not_done[name]:
                yield refusal("unsupported_parameter", f"'{name}' is not supported by this server yet.", name)


def refused_body(model: type[RequestModel], fault: PydanticCustomError) -> ValidationError:
    """The error of a whole body, of which nothing else is reported."""
    return ValidationError.from_exception_data(model.__name__, [_details(fault, None)])


def _details(fault: PydanticCustomError, value: Any) -> InitErrorDetails:
    return InitErrorDetails(type=fault, loc=(), input=value)


def _details_of(error: ValidationError) -> list[InitErrorDetails]:
    """The first faults that `error` has, to be raised with others. Those made by `refusal` are known by their path."""
    details = []
    for each in error.errors(include_url=False)[: MAX_FAULTS + 1]:
        context = each.get("ctx", {})
        kind = PydanticCustomError(each["type"], "{message}", context) if "path" in context else each["type"]
        details.append(InitErrorDetails(type=kind, loc=each["loc"], input=each["input"], ctx=context))
    return details


@lru_cache(maxsize=1024)
def _unknown(name: str, known: tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"'{name}' is not a known field." + (f" Did you mean '{nearest[0]}'?" if nearest else "")
