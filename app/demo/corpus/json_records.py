"""Records of people, goods and other things: told in a sentence, and as JSON to a stated schema."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import pick
from app.demo.corpus.json_fields import ENUMS, FAMILIES, Field, Json, loose_fields
from app.demo.corpus.names import a_city, a_name, a_real_city, a_real_name

_REAL: dict[Callable[[Dice], Any], Callable[[Dice], Any]] = {a_name: a_real_name, a_city: a_real_city}


class Record(NamedTuple):
    """A record: its schema, its values, and the sentences that tell them."""

    schema: Json
    values: Json
    text: str


def _joined(words: list[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]


def _property(dice: Dice, field: Field, value: Any) -> Json:
    if field.kind == "array":
        return {"type": "array", "items": {"type": "string"}}
    if field.kind != "enum":
        return {"type": field.kind}
    if dice.random() < 0.6:
        return {"type": "string"}
    others = next(options for options in ENUMS if value in options)
    shown = [value, *dice.sample([option for option in others if option != value], 2)]
    dice.shuffle(shown)
    return {"type": "string", "enum": shown}


def _clause(field: Field, value: Any) -> str:
    if isinstance(value, bool):
        verb, _, rest = field.told.partition(" ")
        return field.told if value else f"{verb} not {rest}"
    if isinstance(value, list):
        value = _joined(value)
    return field.told.format(value)


def record(dice: Dice, *, invented: bool = False) -> Record:
    """A record with two to five fields, whose keys together are of this side."""
    subjects, family = dice.choice(FAMILIES)
    loose = not invented and dice.random() < 0.2
    while True:
        fields = loose_fields(dice) if loose else family
        chosen = [fields[0], *dice.sample(fields[1:], dice.randint(1, 4))]
        keys = [dice.choice(field.keys) for field in chosen]
        if len(set(keys)) == len(keys) and dice.may_use("schema", *sorted(keys)):
            break
    values = [(_REAL.get(field.value, field.value) if invented else field.value)(dice) for field in chosen]
    clauses = [_clause(field, value) for field, value in zip(chosen, values, strict=True)]
    text = f"{dice.choice(subjects).format(values[0])} {_joined(clauses[1:])}."
    if loose:
        text = f"The {_joined(clauses)}."
    order = list(range(len(keys)))
    dice.shuffle(order)
    properties = {keys[at]: _property(dice, chosen[at], values[at]) for at in order}
    schema: Json = {"type": "object", "properties": properties, "required": list(properties)}
    if dice.random() < 0.3:
        schema["additionalProperties"] = False
    return Record(schema, {keys[at]: values[at] for at in order}, text)


_TO_SCHEMA = (
    "[Answer|Reply|Respond] [with|in] JSON [that fits|to|following] this schema: {schema}\n{text}",
    "{text}\n[Write|Give me|Return] [this|it|that] as JSON [to|that fits] [the|this] schema: {schema}",
    "[Extract|Read] the data [as JSON|into JSON]. Schema: {schema}\nText: {text}",
    "Schema: {schema}\n\n{text}",
    "JSON schema:\n{schema}\n\n[Turn|Put] this [text |]into JSON: {text}",
)
_TO_FIELDS = (
    "[Extract|Give me|Return] {fields} as JSON[ from this text|]: {text}",
    "{text}\n[Write|Return] a JSON object with {fields}.",
    "[Turn|Put] this into JSON with the [fields|keys] {fields}: {text}",
    "{text} [As JSON, please|Make it JSON], with {fields}.",
)
_INVENT = (
    "[Make up|Invent|Write|Give me] [an example|a JSON object] [that fits|for] this schema: {schema}",
    "[Show me|I need] [some |]JSON [for|to] this schema: {schema}",
)


def extraction(dice: Dice, *, stated: bool) -> tuple[str, Record]:
    """A text to be turned into JSON: to a stated schema, or with the named fields."""
    made = record(dice)
    slots = {"schema": json.dumps(made.schema), "fields": _joined(list(made.values)), "text": made.text}
    return pick(dice, _TO_SCHEMA if stated else _TO_FIELDS, slots), made


def invention(dice: Dice) -> tuple[str, Record]:
    """A schema alone, for which any values will do."""
    made = record(dice, invented=True)
    return pick(dice, _INVENT, {"schema": json.dumps(made.schema)}), made


def json_exchanges(dice: Dice) -> list[Exchange]:
    """One to three records as JSON."""
    exchanges = []
    for _ in range(dice.choice((1, 2, 2, 3))):
        chance = dice.random()
        asked, made = invention(dice) if chance < 0.15 else extraction(dice, stated=chance < 0.75)
        exchanges.append(Exchange(asked, json.dumps(made.values, ensure_ascii=False)))
    return exchanges
