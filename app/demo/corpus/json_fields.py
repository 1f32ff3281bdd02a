"""What records are made of: families of fields, each with its keys, its values, and how a sentence tells them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.demo.corpus.dice import Dice
from app.demo.corpus.names import a_city, a_name, a_real_name
from app.demo.corpus.words import WORDS

Json = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """A field under one of its keys, with its JSON type, its values, and how a sentence tells them."""

    keys: tuple[str, ...]
    kind: str
    value: Callable[[Dice], Any]
    told: str


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


GENRES = ("novel", "thriller", "comedy", "biography", "romance", "fantasy", "mystery", "cookbook")
PETS = ("cat", "dog", "horse", "rabbit", "goat", "parrot", "hamster", "donkey", "duck", "turtle")
VEHICLES = ("train", "bus", "boat", "ferry", "taxi", "truck", "tram", "plane")
STATES = ("ready", "busy", "broken", "idle", "starting", "stopped")


def _a_title(dice: Dice) -> str:
    # A real name, so that a title that the model thinks up ends, too.
    return f"The {dice.choice(WORDS).title()} of {a_real_name(dice)}"


def _a_host(dice: Dice) -> str:
    return f"{dice.choice(WORDS)}-{dice.randint(1, 99)}"


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


_PERSON_FIELDS = (
    Field(("name", "first_name", "full_name", "person", "who"), "string", a_name, ""),
    Field(("age", "years", "age_in_years"), "integer", _whole(5, 95), "is {} years old"),
    Field(("city", "town", "home", "lives_in", "location"), "string", a_city, "lives in {}"),
    Field(("job", "profession", "occupation", "work"), "enum", _any_of(JOBS), "works as a {}"),
    Field(("likes", "hobbies", "interests", "favorites"), "array", _some_likes, "likes {}"),
    Field(("married", "is_married"), "boolean", _coin, "is married"),
    Field(("children", "number_of_children", "kids"), "integer", _whole(2, 9), "has {} children"),
    Field(("height", "height_in_meters", "size"), "number", _part(1, 1), "is {} meters tall"),
)
_ARTICLE_FIELDS = (
    Field(("product", "item", "name", "title", "article"), "enum", _any_of(GOODS), ""),
    Field(("price", "cost", "amount"), "number", _part(2, 99), "costs {} dollars"),
    Field(("color", "paint", "shade"), "enum", _any_of(COLORS), "is {}"),
    Field(("in_stock", "available"), "boolean", _coin, "is in stock"),
    Field(("quantity", "count", "pieces", "stock"), "integer", _whole(2, 500), "comes in a box of {}"),
    Field(("maker", "brand", "made_by", "company"), "string", a_name, "is made by {}"),
    Field(("origin", "made_in", "from_city"), "string", a_city, "comes from {}"),
    Field(("weight", "weight_in_kg", "kilograms"), "number", _part(1, 30), "weighs {} kilograms"),
)
_MEETING_FIELDS = (
    Field(("event", "title", "kind", "what"), "enum", _any_of(MEETINGS), ""),
    Field(("day", "weekday", "date"), "enum", _any_of(DAYS), "is on {}"),
    Field(("city", "place", "venue", "where"), "string", a_city, "takes place in {}"),
    Field(("guests", "visitors", "seats", "people"), "integer", _whole(2, 300), "has {} guests"),
    Field(("hour", "start", "starts_at"), "integer", _whole(7, 22), "begins at {} o'clock"),
    Field(("host", "organizer", "contact", "leader"), "string", a_name, "is led by {}"),
    Field(("free", "is_free"), "boolean", _coin, "is free"),
    Field(("price", "fee", "ticket"), "number", _part(3, 60), "costs {} dollars"),
)
_BOOK_FIELDS = (
    Field(("title", "book", "name", "work"), "string", _a_title, ""),
    Field(("author", "writer", "written_by", "by"), "string", a_name, "is by {}"),
    Field(("year", "published", "year_of_publication"), "integer", _whole(1700, 2025), "is from {}"),
    Field(("pages", "page_count", "length"), "integer", _whole(20, 900), "has {} pages"),
    Field(("genre", "category", "type"), "enum", _any_of(GENRES), "is a {}"),
    Field(("rating", "stars", "score"), "number", _part(1, 4), "has {} stars"),
    Field(("read", "finished", "is_read"), "boolean", _coin, "is finished"),
    Field(("topics", "tags", "keywords"), "array", _some_likes, "is about {}"),
)
_ANIMAL_FIELDS = (
    Field(("name", "pet", "pet_name", "called"), "string", a_name, ""),
    Field(("animal", "species", "kind"), "enum", _any_of(PETS), "is a {}"),
    Field(("age", "age_in_years", "years"), "integer", _whole(1, 30), "is {} years old"),
    Field(("owner", "keeper", "belongs_to"), "string", a_name, "belongs to {}"),
    Field(("weight", "weight_in_kg", "kg"), "number", _part(1, 60), "weighs {} kilograms"),
    Field(("color", "fur", "coat"), "enum", _any_of(COLORS), "is {}"),
    Field(("vaccinated", "is_vaccinated"), "boolean", _coin, "is vaccinated"),
    Field(("town", "home", "city"), "string", a_city, "lives in {}"),
)
_TRIP_FIELDS = (
    Field(("vehicle", "by", "transport", "means"), "enum", _any_of(VEHICLES), ""),
    Field(("from", "origin", "departure", "start"), "string", a_city, "leaves from {}"),
    Field(("to", "destination", "arrival", "goal"), "string", a_city, "goes to {}"),
    Field(("distance", "kilometers", "distance_in_km"), "integer", _whole(2, 2000), "goes {} kilometers"),
    Field(("hours", "duration", "duration_in_hours"), "number", _part(0, 20), "takes {} hours"),
    Field(("passengers", "travelers", "people"), "integer", _whole(2, 400), "carries {} people"),
    Field(("driver", "captain", "guide"), "string", a_name, "is driven by {}"),
    Field(("late", "delayed", "is_late"), "boolean", _coin, "is late"),
)
_MACHINE_FIELDS = (
    Field(("host", "server", "machine", "name"), "string", _a_host, ""),
    Field(("port", "port_number"), "integer", _whole(80, 9999), "listens on port {}"),
    Field(("status", "state", "condition"), "enum", _any_of(STATES), "is {}"),
    Field(("region", "location", "city"), "string", a_city, "stands in {}"),
    Field(("load", "usage", "utilization"), "number", _part(0, 9), "has a load of {}"),
    Field(("users", "connections", "clients"), "integer", _whole(2, 5000), "serves {} users"),
    Field(("secure", "encrypted", "tls"), "boolean", _coin, "is secure"),
    Field(("admin", "owner", "contact"), "string", a_name, "is run by {}"),
)
_NAMED, _THE = ("{}",), ("The {}", "This {}", "Our {}")
FAMILIES: tuple[tuple[tuple[str, ...], tuple[Field, ...]], ...] = (
    (_NAMED, _PERSON_FIELDS),
    (_THE, _ARTICLE_FIELDS),
    (_THE, _MEETING_FIELDS),
    (('"{}"', 'The book "{}"'), _BOOK_FIELDS),
    (_NAMED, _ANIMAL_FIELDS),
    (_THE, _TRIP_FIELDS),
    (("{}", "The server {}"), _MACHINE_FIELDS),
)
"""Each with ways to name what the record is about, by the value of its first field."""
_LOOSE: tuple[tuple[str, Callable[[Dice], Any]], ...] = (
    ("integer", _whole(2, 999)),
    ("number", _part(1, 99)),
    ("string", a_name),
    ("string", a_city),
)
ENUMS = (JOBS, GOODS, COLORS, MEETINGS, DAYS, GENRES, PETS, VEHICLES, STATES)


def loose_fields(dice: Dice) -> tuple[Field, ...]:
    """Any words as keys, so that they must be read and cannot be known."""

    def field(word: str) -> Field:
        kind, value = dice.choice(_LOOSE)
        return Field((word,), kind, value, f"{word} is {{}}")

    return tuple(map(field, dice.sample(WORDS, 5)))
