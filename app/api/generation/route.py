"""A route that generates: a faulty body is refused with all that can be found wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.api.error_handlers import validation_faults
from app.api.errors import ApiError, Fault, invalid
from app.api.generation.constraints import check_constraint
from app.api.generation.faults import limit_faults, model_faults
from app.api.generation.request import GenerationBody, GenerationRequest
from app.api.record import record_of
from app.api.wire.body import JsonRequest, JsonRoute
from app.api.wire.request_model import FIELDS_ALONE, names_of
from app.engine.health import Unavailable

if TYPE_CHECKING:
    from app.api.service import Service


class GenerationRoute(JsonRoute):
    """A `JsonRoute` whose body is a `GenerationBody`."""

    async def refusal(self, request: JsonRequest, failure: RequestValidationError) -> Exception:
        """Add to what the schema finds what the fields that are right show by themselves."""
        faults = validation_faults(failure)
        if isinstance(request.parsed, dict) and all(fault.field is not None for fault in faults):
            faults += await _other_faults(request, failure)
        return invalid(faults)


async def _other_faults(request: JsonRequest, failure: RequestValidationError) -> list[Fault]:
    """What is wrong with the fields that are right by themselves."""
    asked = await request.run(_right_fields, request, failure)
    if asked is None:
        return []
    service: Service = request.app.state.service
    faults = await request.run(lambda: list(limit_faults(asked, service.limits)))
    try:
        tokenizer, ready = service.require(asked.model)
    except (ApiError, Unavailable):
        return faults
    faults += await request.run(lambda: list(model_faults(asked, tokenizer, ready)))
    owner = record_of(request.scope).owner.name
    constraint = await check_constraint(asked, (), tokenizer, service.constraints, owner)
    return [*faults, constraint] if isinstance(constraint, Fault) else faults


def _right_fields(request: JsonRequest, failure: RequestValidationError) -> GenerationRequest | None:
    """The request that the fields make which are right by themselves; None if there are more faults than are listed."""
    assert issubclass(request.model, GenerationBody)
    faulty = {_field_of(error) for error in failure.errors()}
    kept = {name: value for name, value in request.parsed.items() if name not in faulty}
    known = {name: value for name, value in kept.items() if name in names_of(request.model)}
    try:
        body = request.model.model_validate({**request.model.stand_ins, **known}, context=FIELDS_ALONE)
    except ValidationError:
        return None
    return body.neutral()


def _field_of(error: Any) -> Any:
    """The field of the body in which an error of pydantic lies."""
    return (*error["loc"][1:], *error.get("ctx", {}).get("path", ()))[0]
