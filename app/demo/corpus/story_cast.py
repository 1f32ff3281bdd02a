"""Who and what short stories are about."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.demo.corpus.dice import Dice
from app.demo.corpus.names import made_up_name

_SHE = "Anna Mia Nora Lily Clara Emma Ruth Zoe Alice Eva Grace Hana Ines Jane Julia Kate Lara Maria Nina Olga Rosa Sara"
_HE = "Ben Tom Leo Max Felix Oscar Sam Hugo Bob David Eric Igor Ivan Jack John Karl Luis Mark Omar Paul Peter Tim Will"
_ANIMALS_SHE = (
    "Daisy Luna Hazel Poppy Willow Ivy Berry Clover Dotty Fern Ginger Honey Misty Pearl Penny Ruby Tulip Velvet"
)
_ANIMALS_HE = (
    "Pip Bruno Otto Rusty Milo Finn Bingo Buster Chip Cosmo Duke Fuzzy Gus Jasper Monty Ollie Rocky Scout Ziggy"
)


def _pronouns(she: str, he: str) -> dict[str, str]:
    return dict.fromkeys(she.split(), "she") | dict.fromkeys(he.split(), "he")


PEOPLE = _pronouns(_SHE, _HE)
ANIMAL_NAMES = _pronouns(_ANIMALS_SHE, _ANIMALS_HE)
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
TONES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "happy": (
        ("The sun was shining, and all the birds were singing.", "It was the best day of the year."),
        ("Everybody laughed and danced.", "It was a very happy day."),
    ),
    "sad": (
        ("The sky was gray, and nobody was singing.", "It had rained for many days."),
        ("It was a little sad, and a little beautiful.", "Some days are like that, and then the rain stops."),
    ),
    "spooky": (
        ("The moon was pale, and an owl cried in the dark.", "That night the fog was thick, and something creaked."),
        ("And in the dark, something softly laughed.", "But sometimes, at midnight, the old door still creaks."),
    ),
    "funny": (
        ("Everything smelled of cheese, and nobody knew why.", "It was so windy that the hats flew away."),
        ("And the hats? They are still flying.", "They laughed until their hats fell off."),
    ),
    "quiet": (
        ("The evening was soft, and the first stars came out.", "It was so still that one could hear the grass grow."),
        ("Then the moon came out, and all was still. Good night.", "And they all slept well that night."),
    ),
}
"""How a story of each tone may begin, after its hero is named, and how it ends."""
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
    tone: str

    def slots(self) -> dict[str, str]:
        """All slot values of the story."""
        story = {"trait": self.trait, "place": self.place, "thing": self.thing, "color": self.color, "tone": self.tone}
        return story | self.hero.slots("hero") | self.friend.slots("friend")


def _actor(dice: Dice, *, made_up: float) -> Actor:
    animal = dice.random() < 0.6
    names = ANIMAL_NAMES if animal else PEOPLE
    if dice.random() < made_up:
        name, pronoun = dice.draw("name", lambda: made_up_name(dice)), dice.choice(("she", "he"))
    else:
        name = dice.one_of("name", tuple(names))
        pronoun = names[name]
    return Actor(name, dice.choice(ANIMALS if animal else PEOPLE_KINDS[pronoun]), pronoun)


def choose_cast(dice: Dice, *, made_up: float = 0.5) -> Cast:
    """A hero, a friend with another name and kind, and a thing that the story is about.

    `made_up` is how often the hero has a name that nobody has.
    """
    hero = _actor(dice, made_up=made_up)
    friend = other(dice, [hero])
    return Cast(
        hero,
        friend,
        dice.choice(TRAITS),
        dice.choice(PLACES),
        dice.choice(THINGS),
        dice.choice(COLORS),
        dice.choice(tuple(TONES)),
    )


def guides(dice: Dice, cast: Cast, count: int) -> list[Actor]:
    """Others whom the hero meets before the friend: those who come before the friend in the row of all names.

    Any other order would do for a reader, but greedily, a model for which all are as likely meets the likeliest again.
    """
    pronouns = ANIMAL_NAMES | PEOPLE
    row = [name for name in pronouns if name != cast.hero.name and dice.may_use("name", name)]
    friend = row.index(cast.friend.name)
    return [_villager(row[friend - at], pronouns) for at in range(count, 0, -1)]


def _villager(name: str, pronouns: dict[str, str]) -> Actor:
    """Somebody who is of the same kind in every story."""
    kinds = ANIMALS if name in ANIMAL_NAMES else PEOPLE_KINDS[pronouns[name]]
    return Actor(name, kinds[len(name) % len(kinds)], pronouns[name])


def in_a_row(dice: Dice, options: Sequence[str], count: int) -> list[str]:
    """So many of the options, one after the other as they stand there, from anywhere on."""
    first = dice.randrange(len(options))
    return [options[(first + at) % len(options)] for at in range(count)]


def other(dice: Dice, known: Sequence[Actor]) -> Actor:
    """Somebody with another name and of another kind than those who are known."""
    while True:
        actor = _actor(dice, made_up=0)
        if all(actor.name != one.name and actor.kind != one.kind for one in known):
            return actor
