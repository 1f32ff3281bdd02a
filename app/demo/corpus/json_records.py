"""Records of people, goods and meetings: told in a sentence, and as JSON to a stated schema."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import pick
from app.demo.corpus.names import a_city, a_name, a_real_city, a_real_name

Json = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """A field under one of its keys, with its JSON type, its values, and how a sentence tells them."""

    keys: tuple[str, ...]
    kind: str
    value: Callable[[Dice], Any]
    told: str


class Record(NamedTuple):
    """A record: its schema, its values, and the sentences that tell them."""

    schema: Json
    values: Json
    text: str


JOBS = ("baker", "teacher", "doctor", "sailor", "miller", "painter", "farmer", "nurse", "pilot", "writer")
LIKES = ("music", "tea", "chess", "bread", "rivers", "books", "cats", "rain", "maps", "apples", "trains", "soup")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
GOODS = (
    "lamp",
    "chair",
    "kettle",
    "table",
    "clock",
    "basket",
    "mirror",
    "bottle",
    "blanket",
    "bicycle",
    "drum",
    "tent",
)
COLORS = ("red", "blue", "green", "white", "black", "yellow", "brown", "silver")
MEETINGS = ("concert", "workshop", "picnic", "meeting", "lecture", "market", "race", "dinner")


def _some_likes(dice: Dice) -> list[str]:
    return dice.sample(LIKES, dice.randint(1, 3))


def _whole(low: int, high: int) -> Callable[[Dice], int]:
    return lambda dice: dice.randint(low, high)


def _part(low: int, high: int) -> Callable[[Dice], float]:
    return lambda dice: dice.randint(100 * low + 1, 100 * high + 99) / 100


def _any_of(options: tuple[str, ...]) -> Callable[[Dice], str]:
    return lambda dice: dice.choice(options)


def _coin(dice: Dice) -> bool:
    return dice.random() < 0.5


_PERSON = (
    Field(("name", "first_name", "full_name", "person", "who"), "string", a_name, ""),
    Field(("age", "years", "age_in_years"), "integer", _whole(5, 95), "is {} years old"),
    Field(("city", "town", "home", "lives_in", "location"), "string", a_city, "lives in {}"),
    Field(("job", "profession", "occupation", "work"), "enum", _any_of(JOBS), "works as a {}"),
    Field(("likes", "hobbies", "interests", "favorites"), "array", _some_likes, "likes {}"),
    Field(("married", "is_married"), "boolean", _coin, "is married"),
    Field(("children", "number_of_children", "kids"), "integer", _whole(2, 9), "has {} children"),
    Field(("height", "height_in_meters", "size"), "number", _part(1, 1), "is {} meters tall"),
)
_ARTICLE = (
    Field(("product", "item", "name", "title", "article"), "enum", _any_of(GOODS), ""),
    Field(("price", "cost", "amount"), "number", _part(2, 99), "costs {} dollars"),
    Field(("color", "paint", "shade"), "enum", _any_of(COLORS), "is {}"),
    Field(("in_stock", "available"), "boolean", _coin, "is in stock"),
    Field(("quantity", "count", "pieces", "stock"), "integer", _whole(2, 500), "comes in a box of {}"),
    Field(("maker", "brand", "made_by", "company"), "string", a_name, "is made by {}"),
    Field(("origin", "made_in", "from_city"), "string", a_city, "comes from {}"),
    Field(("weight", "weight_in_kg", "kilograms"), "number", _part(1, 30), "weighs {} kilograms"),
)
_MEETING = (
    Field(("event", "title", "kind", "what"), "enum", _any_of(MEETINGS), ""),
    Field(("day", "weekday", "date"), "enum", _any_of(DAYS), "is on {}"),
    Field(("city", "place", "venue", "where"), "string", a_city, "takes place in {}"),
    Field(("guests", "visitors", "seats", "people"), "integer", _whole(2, 300), "has {} guests"),
    Field(("hour", "start", "starts_at"), "integer", _whole(7, 22), "begins at {} o'clock"),
    Field(("host", "organizer", "contact", "leader"), "string", a_name, "is led by {}"),
    Field(("free", "is_free"), "boolean", _coin, "is free"),
    Field(("price", "fee", "ticket"), "number", _part(3, 60), "costs {} dollars"),
)
_FAMILIES = (_PERSON, _ARTICLE, _MEETING)
_ENUMS = (JOBS, GOODS, COLORS, MEETINGS, DAYS)


def _property(dice: Dice, field: Field, value: Any) -> Json:
    if field.kind == "array":
        return {"type": "array", "items": {"type": "string"}}
    if field.kind != "enum":
        return {"type": field.kind}
    if dice.random() < 0.6:
        return {"type": "string"}
    others = next(options for options in _ENUMS if value in options)
    shown = [value, *dice.sample([option for option in others if option != value], 2)]
    dice.shuffle(shown)
    return {"type": "string", "enum": shown}


def _clause(field: Field, value: Any) -> str:
    if isinstance(value, bool):
        verb, _, rest = field.told.partition(" ")
        return field.told if value else f"{verb} not {rest}"
    if isinstance(value, list):
        value = " and ".join([", ".join(value[:-1]), value[-1]] if len(value) > 1 else value)
    return field.told.format(value)


_REAL: dict[Callable[[Dice], Any], Callable[[Dice], Any]] = {a_name: a_real_name, a_city: a_real_city}


def record(dice: Dice, *, invented: bool = False) -> Record:
    """A record with two to five fields, whose keys together are of this side."""
    family = dice.choice(_FAMILIES)
    while True:
        chosen = [family[0], *dice.sample(family[1:], dice.randint(1, 4))]
        keys = [dice.choice(field.keys) for field in chosen]
        if len(set(keys)) == len(keys) and dice.may_use("schema", *sorted(keys)):
            break
    values = [(_REAL.get(field.value, field.value) if invented else field.value)(dice) for field in chosen]
    clauses = [_clause(field, value) for field, value in zip(chosen[1:], values[1:], strict=True)]
    who = values[0] if family is _PERSON else f"{dice.choice(('The', 'This', 'Our'))} {values[0]}"
    told = ", ".join(clauses[:-1]) + (" and " if clauses[:-1] else "") + clauses[-1]
    order = list(range(len(keys)))
    dice.shuffle(order)
    properties = {keys[at]: _property(dice, chosen[at], values[at]) for at in order}
    schema: Json = {"type": "object", "properties": properties, "required": list(properties)}
    if dice.random() < 0.3:
        schema["additionalProperties"] = False
    return Record(schema, {keys[at]: values[at] for at in order}, f"{who} {told}.")


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
    "[Show me|I need] [some|] JSON [for|to] this schema: {schema}",
)


def _joined(words: list[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]


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
