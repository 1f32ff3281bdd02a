"""Who and what short stories are about."""

import random
from dataclasses import dataclass

PEOPLE = {
    "Anna": "she", "Mia": "she", "Nora": "she", "Lily": "she", "Clara": "she", "Emma": "she", "Ruth": "she",
    "Zoe": "she", "Ben": "he", "Tom": "he", "Leo": "he", "Max": "he", "Felix": "he", "Oscar": "he", "Sam": "he",
    "Hugo": "he",
}  # fmt: skip
ANIMAL_NAMES = {
    "Pip": "he", "Bruno": "he", "Otto": "he", "Rusty": "he", "Milo": "he", "Finn": "he", "Daisy": "she",
    "Luna": "she", "Hazel": "she", "Poppy": "she", "Willow": "she", "Ivy": "she",
}  # fmt: skip
PEOPLE_KINDS = {"she": ("girl", "miller", "baker", "gardener", "sailor"), "he": ("boy", "miller", "baker", "fisherman")}
ANIMALS = ("fox", "mouse", "bear", "rabbit", "duck", "cat", "dog", "frog", "hedgehog", "squirrel", "turtle", "horse",
           "robot", "dragon")  # fmt: skip
TRAITS = ("small", "brave", "curious", "kind", "clever", "shy", "cheerful", "quiet", "young", "patient")
PLACES = ("by the old mill", "in a green valley", "near a wide river", "at the edge of the forest", "on a windy hill",
          "in a small village", "by the sea", "in a little house under an oak")  # fmt: skip
THINGS = ("key", "lantern", "bell", "kite", "boat", "map", "drum", "ring", "book", "hat", "ball", "flute")
COLORS = ("red", "blue", "golden", "silver", "green", "white", "tiny", "shiny")
SPOTS = ("under the bridge", "behind the mill", "in the garden", "beside the well", "in the barn", "on the hill",
         "under the big oak", "by the river", "in the kitchen", "near the stone wall")  # fmt: skip
_PRONOUNS = {"she": ("her", "her"), "he": ("him", "his")}


@dataclass(frozen=True)
class Actor:
    """Someone in a story, with a name that never changes."""

    name: str
    kind: str
    pronoun: str

    def slots(self, role: str) -> dict[str, str]:
        """Slot values such as `hero`, `hero_kind`, `hero_he`, `hero_him`, `hero_his`."""
        him, his = _PRONOUNS[self.pronoun]
        values = {"": self.name, "_kind": self.kind, "_he": self.pronoun, "_him": him, "_his": his}
        return {role + ending: value for ending, value in values.items()}


@dataclass(frozen=True)
class Cast:
    """Everything that stays the same within one story."""

    hero: Actor
    friend: Actor
    trait: str
    place: str
    thing: str
    color: str

    def slots(self) -> dict[str, str]:
        """All slot values of the story."""
        story = {"trait": self.trait, "place": self.place, "thing": self.thing, "color": self.color}
        return story | self.hero.slots("hero") | self.friend.slots("friend")


def _actor(rng: random.Random, *, animal: bool) -> Actor:
    names = ANIMAL_NAMES if animal else PEOPLE
    name = rng.choice(tuple(names))
    pronoun = names[name]
    return Actor(name, rng.choice(ANIMALS if animal else PEOPLE_KINDS[pronoun]), pronoun)


def choose_cast(rng: random.Random) -> Cast:
    """A hero, a friend with another name and kind, and a thing that the story is about."""
    hero = _actor(rng, animal=rng.random() < 0.6)
    friend = hero
    while friend.name == hero.name or friend.kind == hero.kind:
        friend = _actor(rng, animal=rng.random() < 0.6)
    return Cast(hero, friend, rng.choice(TRAITS), rng.choice(PLACES), rng.choice(THINGS), rng.choice(COLORS))
