"""Grammars and `jsonschema` agree about instances, however these are cut into tokens."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest

from tests.constraint_world import cut, embedded_table, encode, grammar, json_schema

WORDS = ("a", "ab", "Zoë", "x y", '"', "\n", "好😀", "2024-02-29", "2023-02-29", "AB-12", "10.0.0.1", "")
KEYS = ("id", "name", "né", "a/b")
NUMBERS = (0, 1, -3, 7, 12, 100, 2.5, -0.25, 1000000)
LAYOUTS: tuple[dict[str, Any], ...] = ({}, {"indent": 2}, {"separators": (",", ":")})


def random_schema(rng: random.Random, depth: int = 0) -> Any:
    kinds = ["string", "integer", "number", "enum", "const", "boolean", "null", "reference"]
    kind = rng.choice([*kinds, *(["object", "object", "array", "anyOf"] * 2 if depth < 3 else [])])
    match kind:
        case "string":
            limits = [{}, {"minLength": 1}, {"maxLength": 3}, {"pattern": "^[A-Z]{2}-[0-9]+$"}, {"pattern": "a"}]
            return {"type": kind, **rng.choice([*limits, {"format": "date"}, {"format": "ipv4"}])}
        case "integer" | "number":
            limits = [{}, {"minimum": 1}, {"maximum": 7}, {"exclusiveMinimum": 0, "maximum": 100}, {"multipleOf": 4}]
            return {"type": kind, **rng.choice(limits)}
        case "enum":
            return {"enum": rng.sample([*WORDS, *NUMBERS, True, None, [1], {"a": "b"}], 3)}
        case "const":
            return {"const": rng.choice([*WORDS, *NUMBERS])}
        case "reference":
            return {"$ref": "#/$defs/tree"}
        case "array":
            limits = [{}, {"minItems": 1}, {"maxItems": 2}, {"prefixItems": [random_schema(rng, depth + 1)]}]
            return {"type": kind, "items": random_schema(rng, depth + 1), **rng.choice(limits)}
        case "object":
            keys = rng.sample(KEYS, rng.randrange(4))
            more = [{}, {"additionalProperties": False}, {"additionalProperties": random_schema(rng, depth + 1)}]
            required = [key for key in keys if rng.random() < 0.5]
            properties = {key: random_schema(rng, depth + 1) for key in keys}
            return {"type": kind, "properties": properties, "required": required, **rng.choice(more)}
        case "anyOf":
            return {kind: [random_schema(rng, depth + 1) for _ in range(2)]}
    return {"type": kind}


TREE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}},
    "required": ["next"],
    "additionalProperties": False,
}


def random_instance(schema: Any, rng: random.Random, depth: int = 0) -> Any:
    """What the schema asks for, mostly, with keys in the schema's order."""
    if rng.random() < 0.04 or depth > 6:
        return rng.choice([*WORDS, *NUMBERS, None, True, [], {}, [None], {"id": 1}])
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        return random_instance(rng.choice(schema["anyOf"]), rng, depth)
    if "$ref" in schema:
        return random_instance(TREE, rng, depth + 1)
    match schema.get("type"):
        case "string":
            return rng.choice(WORDS)
        case "integer":
            return rng.choice([number for number in NUMBERS if isinstance(number, int)])
        case "number":
            return rng.choice(NUMBERS)
        case "boolean":
            return rng.random() < 0.5
        case "array":
            first = [random_instance(item, rng, depth + 1) for item in schema.get("prefixItems", [])]
            return first + [random_instance(schema["items"], rng, depth + 1) for _ in range(rng.randrange(3))]
        case "object":
            named = schema["properties"].items()
            kept = {k: random_instance(v, rng, depth + 1) for k, v in named if rng.random() < 0.8}
            other = schema.get("additionalProperties", {"type": "null"})
            return kept | (
                {"other": random_instance(other or {"type": "null"}, rng, depth + 1)} if rng.random() < 0.3 else {}
            )
    return None


@pytest.mark.parametrize("seed", range(40))
def test_valid_instances_are_taken_and_invalid_ones_are_not(seed: int) -> None:
    """In the schema's own order of keys: another order is another text, which is not generated."""
    rng = random.Random(seed)
    schema = {**random_schema(rng), "$defs": {"tree": TREE}}
    judge = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    compiled, table = grammar(json_schema(schema)), embedded_table()
    for _ in range(15):
        instance = random_instance(schema, rng)
        text = json.dumps(instance, ensure_ascii=False, **rng.choice(LAYOUTS))
        for token_ids in (encode(text), cut(table, text, rng)):
            matcher = compiled.matcher(())
            taken = matcher.verify(token_ids) == len(token_ids)
            if taken:
                matcher.advance(token_ids)
            assert (taken and matcher.is_accepting) == judge.is_valid(instance), f"{text} by {schema}"
