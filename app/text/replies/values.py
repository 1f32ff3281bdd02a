"""Values that a model wrote as plain text, as JSON of the type that the tool's schema says."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from app.text.replies.parts import Schema

MAX_DEPTH = 8
"""How deep the alternatives and references of one parameter's schema are followed."""

_TYPES: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_TYPES |= {dict: "object", list: "array"}
_WORDS = {"true": "true", "false": "false", "null": "null", "none": "null"}


def types_of(schema: Schema, name: str) -> frozenset[str]:
    """The JSON types that a parameter may have. None if the schema of the parameters does not say."""
    properties = schema.get("properties")
    declared = properties.get(name) if isinstance(properties, dict) else None
    return frozenset(_types(declared, schema, 0))


def _types(declared: Any, root: Schema, depth: int) -> Iterator[str]:
    if not isinstance(declared, dict) or depth == MAX_DEPTH:
        return
    kind = declared.get("type")
    named = kind if isinstance(kind, list) else [kind]
    yield from (each for each in named if isinstance(each, str))
    if declared.get("nullable") is True:
        yield "null"
    if kind is None:
        values = declared["enum"] if isinstance(declared.get("enum"), list) else []
        values = [*values, declared["const"]] if "const" in declared else values
        yield from (_TYPES[type(value)] for value in values if type(value) in _TYPES)
        yield from _types(_referenced(declared.get("$ref"), root), root, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        for each in declared[key] if isinstance(declared.get(key), list) else []:
            yield from _types(each, root, depth + 1)


def _referenced(pointer: Any, root: Schema) -> Any:
    """What a reference within the schema (`#/$defs/Name`) stands for."""
    if not isinstance(pointer, str) or not pointer.startswith("#/"):
        return None
    found: Any = root
    for key in pointer[2:].split("/"):
        found = found.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def escaped(text: str) -> str:
    """A piece of a string as it stands between the quotes of JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def as_json(text: str, types: frozenset[str]) -> str:
    """The JSON text of a value of one of the types; of any type, if there is none.

    A text that is no value of these types is passed on as a string. It is what the model wrote, and who receives the
    call has the schema to say no to it; to drop or bend it would hide that.
    """
    stripped = text.strip()
    for value in _read(stripped):
        if fits := _fitting(value, types):
            return fits
    return json.dumps(text, ensure_ascii=False)


def _read(text: str) -> Iterator[Any]:
    """What a text may be: JSON, or Python, in which some templates write values."""
    if text.lower() in _WORDS:
        yield json.loads(_WORDS[text.lower()])
        return
    with suppress(ValueError, RecursionError):
        yield json.loads(text, parse_constant=_refuse)
        return
    if text[:1] in ("{", "[", "("):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            yield ast.literal_eval(text)


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _fitting(value: Any, types: frozenset[str]) -> str:
    """The value as JSON text, if it is of one of the types, else an empty text."""
    if isinstance(value, tuple):
        value = list(value)
    kind = _TYPES.get(type(value), "")
    if kind == "number" and value.is_integer() and "integer" in types and "number" not in types:
        kind, value = "integer", int(value)
    allowed = types or frozenset(_TYPES.values()) - {"string"}
    if kind not in allowed and not (kind == "integer" and "number" in allowed):
        return ""
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        written.encode()
    except (ValueError, TypeError, RecursionError):
        return ""
    return written
