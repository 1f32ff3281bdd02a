"""What is wrong with the value of a setting, in words: where it was given, what it is and what would work."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from app.settings import GROUPS, option_of, variable_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

EXPECTATIONS = {
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_parsing": "write a number",
    "bool_parsing": "write true or false",
    "greater_than": "write a number above {gt:g}",
    "greater_than_equal": "write a number from {ge:g} on",
    "less_than_equal": "write a number up to {le:g}",
    "multiple_of": "write a multiple of {multiple_of:g}",
    "literal_error": "write {expected}",
}
"""By the type of pydantic's error, whose context fills the gaps."""


def describe(fault: ErrorDetails, overrides: Container[str]) -> str:
    """One of pydantic's errors as a line. `overrides` are the settings that the command line gave."""
    own_words = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:  # of several settings together: the message names them
        return own_words
    name = str(fault["loc"][0])
    field = _fields().get(name)
    if field is None:
        return f"{name}: there is no such setting"
    where = option_of(name) if name in overrides else variable_of(name)
    return f"{where} is {_shown(fault['input'])}; {_expectation(fault, own_words, str(field.description))}"


def _fields() -> Mapping[str, Any]:
    return {name: field for group in GROUPS for name, field in group.model_fields.items()}


def _shown(value: object) -> str:
    """A value in quotes, so that an empty one is seen too."""
    return f"'{value}'"


def _expectation(fault: ErrorDetails, own_words: str, description: str) -> str:
    if fault["type"] == "string_pattern_mismatch":  # of a setting whose description lists what it may be
        return f"write {description}"
    if fault["type"] not in EXPECTATIONS:
        return own_words
    return EXPECTATIONS[fault["type"]].format_map(fault.get("ctx", {}))
