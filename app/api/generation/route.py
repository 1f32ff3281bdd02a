"""A route that generates: a faulty body is refused with all that can be found wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.api.error_handlers import validation_faults
from app.api.errors import ApiError, Fault, invalid
from app.api.generation.faults import limit_faults, model_faults
from app.api.generation.request import GenerationBody
from app.api.wire.body import JsonRequest, JsonRoute
from app.api.wire.request_model import FIELDS_ALONE
from app.engine.health import Unavailable

if TYPE_CHECKING:
    from app.api.service import Service


class GenerationRoute(JsonRoute):
    """A `JsonRoute` whose body is a `GenerationBody`."""

    async def refusal(self, request: JsonRequest, failure: RequestValidationError) -> Exception:
        """Add to what the schema finds what the fields that are right show by themselves."""
        faults = validation_faults(failure)
        if isinstance(request.parsed, dict) and all(fault.field is not None for fault in faults):
            faults += await request.run(_other_faults, request, failure)
        return invalid(faults)


def _other_faults(request: JsonRequest, failure: RequestValidationError) -> list[Fault]:
    assert issubclass(request.model, GenerationBody)
    faulty = {_field_of(error) for error in failure.errors()}
    kept = {name: value for name, value in request.parsed.items() if name not in faulty}
    known = {name: value for name, value in kept.items() if name in request.model.model_fields}
    try:
        body = request.model.model_validate({**request.model.stand_ins, **known}, context=FIELDS_ALONE)
    except ValidationError:  # of more faults than are listed
        return []
    return list(_faults(body, request.app.state.service))


def _field_of(error: Any) -> Any:
    """The field of the body in which an error of pydantic lies."""
    return (*error["loc"][1:], *error.get("ctx", {}).get("path", ()))[0]


def _faults(body: GenerationBody, service: Service) -> Iterator[Fault]:
    request = body.neutral()
    yield from limit_faults(request, service.limits)
    try:
        tokenizer, ready = service.require(request.model)
    except (ApiError, Unavailable):
        return
    yield from model_faults(request, tokenizer, ready)
