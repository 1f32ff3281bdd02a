"""JSON schemas, made ready to be compiled: what cannot be enforced is found here, with its place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from app.constraints.errors import ConstraintError
from app.constraints.formats import ENFORCED, PATTERNS, UNENFORCED

Schema = dict[str, Any]

_ANNOTATIONS = frozenset(
    {
        "title",
        "description",
        "default",
        "examples",
        "example",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$comment",
        "$vocabulary",
        "$dynamicAnchor",
        "$recursiveAnchor",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "x-guidance",
    }
)
"""These constrain nothing. (`x-guidance` would set llguidance's options, which are ours to set.)"""

_UNENFORCED: dict[str, Callable[[Any, Schema], bool]] = {
    "not": lambda _value, _schema: True,
    "if": lambda _value, schema: "then" in schema or "else" in schema,
    "contains": lambda _value, schema: schema.get("minContains") != 0 or "maxContains" in schema,
    "dependencies": lambda value, _schema: value != {},
    "dependentRequired": lambda value, _schema: value != {},
    "dependentSchemas": lambda value, _schema: value != {},
    "propertyNames": lambda value, _schema: value not in (True, {}, {"type": "string"}),
    "uniqueItems": lambda value, schema: value is not False and not _at_most_one(schema.get("maxItems")),
    "unevaluatedItems": lambda value, _schema: value not in (True, {}),
    "unevaluatedProperties": lambda value, _schema: value not in (True, {}),
    "$dynamicRef": lambda _value, _schema: True,
    "$recursiveRef": lambda _value, _schema: True,
}
"""What llguidance does not do, and whether it asks anything where it stands."""

_WITHOUT_EFFECT = frozenset({*_UNENFORCED, "then", "else", "minContains", "maxContains"})

_BESIDE_REFERENCE = frozenset({"$ref", "$schema", "$defs", "definitions"})

MAX_NESTING = 400
"""Schemas in one another, and along references."""

MAX_PROPERTIES = 1000
"""Of one object: the time of compiling grows with their square, to 0.15 s."""

_SCHEMAS = ("additionalProperties", "items", "additionalItems")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_MAPS = ("properties", "patternProperties")


def _at_most_one(value: object) -> bool:
    return isinstance(value, int) and value <= 1


class SchemaReader:
    """Walks all of a schema that instances are held to, and rewrites it in place.

    Annotations and keywords without effect are taken out. With `strict`, a keyword that cannot be enforced raises
    ConstraintError; without, it is taken out and added to `unenforced`, as `keyword at place`. `places` has the
    places (URI fragments) of each keyword that was found, for messages about what fails later.
    """

    def __init__(self, root: Schema, *, strict: bool) -> None:
        self.root = root
        self._strict = strict
        self._base = str(root.pop("$id", None) or root.pop("id", None) or "").rstrip("#")
        # Up to draft 7, what stands beside a reference means nothing.
        self._reference_stands_alone = "/draft-0" in str(root.get("$schema"))
        self._pending: list[tuple[object, str, int]] = [(root, "#", 1)]
        self._seen: set[int] = set()
        self.unenforced: list[str] = []
        self.places: defaultdict[str, list[tuple[str, Any]]] = defaultdict(list)

    def read(self) -> None:
        """Raises ConstraintError."""
        while self._pending:
            schema, place, depth = self._pending.pop()
            if isinstance(schema, bool) or id(schema) in self._seen:
                continue
            if not isinstance(schema, dict):
                raise ConstraintError(f"{place} is not a schema: an object or a boolean.", pointer=place)
            if depth > MAX_NESTING:
                raise ConstraintError(f"{place}: schemas and references nest deeper than {MAX_NESTING}.", pointer=place)
            self._seen.add(id(schema))
            self._read_keywords(schema, place, depth)
            # Those found last are read first: errors are to name what comes first in the text.
            found = [(inner, pointer, depth + 1) for inner, pointer in _subschemas(schema, place)]
            self._pending.extend(reversed(found))

    def _read_keywords(self, schema: Schema, place: str, depth: int) -> None:
        for keyword, value in list(schema.items()):
            beside = self._reference_stands_alone and "$ref" in schema and keyword not in _BESIDE_REFERENCE
            if keyword in _ANNOTATIONS or beside:
                del schema[keyword]
                continue
            self.places[keyword].append((f"{place}/{_escaped(keyword)}", value))
            if (asks := _UNENFORCED.get(keyword)) and asks(value, schema):
                self._refuse(keyword, place)
        for keyword in _WITHOUT_EFFECT & schema.keys():
            del schema[keyword]
        if isinstance(properties := schema.get("properties"), dict) and len(properties) > MAX_PROPERTIES:
            pointer = f"{place}/properties"
            message = f"{pointer}: an object has at most {MAX_PROPERTIES} properties; this one has {len(properties)}."
            raise ConstraintError(message, keyword="properties", pointer=pointer)
        self._read_id(schema, place)
        self._read_reference(schema, place, depth)
        self._read_format(schema, place)
        self._read_min_properties(schema, place)

    def _refuse(self, keyword: str, place: str, reason: str = "") -> None:
        pointer = f"{place}/{_escaped(keyword)}"
        if self._strict:
            because = f": {reason}" if reason else ""
            message = f"{pointer}: `{keyword}` cannot be enforced{because}."
            raise ConstraintError(message, keyword=keyword, pointer=pointer)
        self.unenforced.append(f"{keyword} at {pointer}")

    def _read_id(self, schema: Schema, place: str) -> None:
        """An identifier below the root would be another base for the references below it; a fragment is none."""
        for keyword in ("$id", "id"):
            value = schema.pop(keyword, None)
            if keyword == "$id" and isinstance(value, str) and not value.startswith("#") and "$ref" in str(schema):
                self._refuse(keyword, place, "references are resolved from the root of the schema")

    def _read_reference(self, schema: Schema, place: str, depth: int) -> None:
        if "$ref" not in schema:
            return
        reference = schema["$ref"]
        target = self._resolve(reference) if isinstance(reference, str) else None
        if target is None:
            reason = "a reference is a JSON pointer to a schema within the same schema, such as `#/$defs/name`"
            pointer = f"{place}/$ref"
            raise ConstraintError(f"{pointer}: `$ref` cannot be resolved: {reason}.", keyword="$ref", pointer=pointer)
        schema["$ref"] = reference.removeprefix(self._base) or "#"
        self._pending.append((target, unquote(schema["$ref"]).rstrip("/"), depth + 1))

    def _resolve(self, reference: str) -> object | None:
        fragment = reference.removeprefix(self._base)
        if fragment in ("", "#", "#/"):
            return self.root
        if not fragment.startswith("#/"):
            return None
        target: object = self.root
        for part in unquote(fragment[2:]).split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and key in target:
                target = target[key]
            elif isinstance(target, list) and key.isascii() and key.isdigit() and int(key) < len(target):
                target = target[int(key)]
            else:
                return None
        return target

    def _read_format(self, schema: Schema, place: str) -> None:
        name = schema.pop("format", None)
        if not isinstance(name, str):
            return
        if name in ENFORCED:
            schema["format"] = name
        elif name in UNENFORCED:
            self._refuse("format", place, f"the format {name!r} is not one that can be")
        elif pattern := PATTERNS.get(name):
            # As a schema beside this one, since there may be a pattern already.
            others = schema.setdefault("allOf", [])
            if isinstance(others, list):
                others.append({"pattern": pattern})

    def _read_min_properties(self, schema: Schema, place: str) -> None:
        """Keys that the schema does not name may be written twice and count once, so one of them can be asked for."""
        minimum, required = schema.get("minProperties"), schema.get("required", [])
        if isinstance(minimum, int) and isinstance(required, list) and minimum > len(set(map(str, required))) + 1:
            self._refuse("minProperties", place, "no more than one key can be asked for beside those in `required`")
            del schema["minProperties"]


def _subschemas(schema: Schema, place: str) -> Iterator[tuple[object, str]]:
    for keyword in schema:
        value, pointer = schema[keyword], f"{place}/{_escaped(keyword)}"
        if keyword in _LISTS and isinstance(value, list):
            yield from ((item, f"{pointer}/{index}") for index, item in enumerate(value))
        elif keyword in _SCHEMAS:
            yield value, pointer
        elif keyword in _MAPS and isinstance(value, dict):
            yield from ((item, f"{pointer}/{_escaped(name)}") for name, item in value.items())


def _escaped(part: str) -> str:
    """As a part of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")
