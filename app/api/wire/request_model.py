"""What all request bodies share, in any dialect: strict types, and nothing that is ignored."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Set
from functools import cache, lru_cache
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, ValidationInfo, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.api.errors import MAX_FAULTS
from app.api.excerpts import shortened

FIELDS_ALONE = object()
"""The validation context in which fields are checked one by one only, because others of the body are missing."""


def refusal(code: str, message: str, *path: str | int) -> PydanticCustomError:
    """An error for a validator to raise, with a message that is shown as it is. `path` leads from the value being
    validated to the one at fault.
    """
    return PydanticCustomError(code, "{message}", {"message": message, "path": path})


class RequestModel(BaseModel):
    """A JSON object of a request.

    A null means that the field was left out. A field of `not_done` is refused by name unless its value is one of
    those listed for it, which ask for nothing; an unknown field is refused with the nearest known name. All faults are
    reported together: such fields, wrong values and, where every value is right, `disagreements`. A field whose name
    pydantic has taken itself is known by its alias alone.
    """

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    not_done: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    @classmethod
    def wrong_kind(cls, data: Mapping[str, Any]) -> PydanticCustomError | None:  # noqa: ARG003
        """Why the object is not of this model's kind at all, in which case nothing else is reported about it."""
        return None

    def disagreements(self) -> Iterator[PydanticCustomError]:
        """What is wrong with fields that are each right by themselves."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _nothing_is_ignored(cls, data: Any, validate: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if isinstance(data, ValidationError):
            raise data  # found elsewhere already: see `JsonRequest.json`
        if not isinstance(data, dict):
            return validate(data)
        if fault := cls.wrong_kind(data):
            raise fault
        given = {name: value for name, value in data.items() if value is not None}
        known = {name: value for name, value in given.items() if name in names_of(cls)}
        faults = [_details(fault, data) for fault in cls._not_taken(given)] if len(known) < len(given) else []
        try:
            model = validate(known)
            if info.context is not FIELDS_ALONE:
                faults += [_details(fault, data) for fault in model.disagreements()]
        except ValidationError as error:
            faults += _details_of(error)
        if faults:
            raise ValidationError.from_exception_data(cls.__name__, faults[: MAX_FAULTS + 1])
        return model

    @classmethod
    def _not_taken(cls, given: dict[str, Any]) -> Iterator[PydanticCustomError]:
        for name in given:
            if name in names_of(cls):
                continue
            if name not in cls.not_done:
                yield refusal("unknown_parameter", _unknown(shortened(name), (*names_of(cls), *cls.not_done)), name)
            elif given[name] not in cls.not_done[name]:
                yield refusal("unsupported_parameter", f"'{name}' is not supported by this server yet.", name)


@cache
def names_of(model: type[BaseModel]) -> Set[str]:
    """What clients call the fields of a model, in their order."""
    return {field.alias or name: None for name, field in model.model_fields.items()}.keys()


def refused_body(model: type[RequestModel], fault: PydanticCustomError) -> ValidationError:
    """The error of a whole body about which nothing else is reported."""
    return ValidationError.from_exception_data(model.__name__, [_details(fault, None)])


def _details(fault: PydanticCustomError, value: Any) -> InitErrorDetails:
    return InitErrorDetails(type=fault, loc=(), input=value)


def _details_of(error: ValidationError) -> list[InitErrorDetails]:
    """The first faults of `error`, to be raised again together with others.

    Their messages are kept as they are: pydantic would write a large bound again as a rounded float.
    """
    details = []
    for each in error.errors(include_url=False)[: MAX_FAULTS + 1]:
        kind = PydanticCustomError(each["type"], "{message}", each.get("ctx", {}) | {"message": each["msg"]})
        details.append(InitErrorDetails(type=kind, loc=each["loc"], input=each["input"]))
    return details


@lru_cache(maxsize=1024)
def _unknown(name: str, known: tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"'{name}' is not a known field." + (f" Did you mean '{nearest[0]}'?" if nearest else "")
