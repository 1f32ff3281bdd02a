"""A few plain facts of everyday life."""

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import pick, scruffy

_SOUNDS = {"cow": "moo", "dog": "woof", "cat": "meow", "duck": "quack", "sheep": "baa", "frog": "ribbit",
           "horse": "neigh", "mouse": "squeak", "pig": "oink", "bee": "buzz"}  # fmt: skip
_COLORS = {"the sky": "blue", "grass": "green", "snow": "white", "the sun": "yellow", "a lemon": "yellow",
           "blood": "red", "coal": "black", "chocolate": "brown", "an orange": "orange", "milk": "white"}  # fmt: skip
_OPPOSITES = {"hot": "cold", "big": "small", "up": "down", "day": "night", "fast": "slow", "old": "new",
              "happy": "sad", "long": "short", "light": "dark", "open": "closed", "left": "right",
              "full": "empty"}  # fmt: skip
_NUMBERS = {
    "days are in a week": "A week has 7 days.",
    "months are in a year": "A year has 12 months.",
    "hours are in a day": "A day has 24 hours.",
    "minutes are in an hour": "An hour has 60 minutes.",
    "seconds are in a minute": "A minute has 60 seconds.",
    "legs does a dog have": "A dog has 4 legs.",
    "legs does a spider have": "A spider has 8 legs.",
    "wheels does a car have": "A car has 4 wheels.",
    "sides does a triangle have": "A triangle has 3 sides.",
    "letters are in the alphabet": "The English alphabet has 26 letters.",
    "bits are in a byte": "A byte has 8 bits.",
}


def everyday_fact(dice: Dice) -> list[Exchange]:
    """A simple question with its answer."""
    form = dice.randrange(4)
    if form == 0:
        animal, sound = dice.choice(tuple(_SOUNDS.items()))
        asked = pick(dice, ("What [sound|noise] does a {a} make?", "What does a {a} say?"), {"a": animal})
        answer = f"A {animal} says {sound}."
    elif form == 1:
        thing, color = dice.choice(tuple(_COLORS.items()))
        asked, answer = f"What color is {thing}?", f"{thing[0].upper()}{thing[1:]} is {color}."
    elif form == 2:
        word, opposite = dice.choice([pair for item in _OPPOSITES.items() for pair in (item, item[::-1])])
        asked, answer = f"What is the opposite of {word}?", f"The opposite of {word} is {opposite}."
    else:
        what, answer = dice.choice(tuple(_NUMBERS.items()))
        asked = f"How many {what}?"
    return [Exchange(scruffy(dice, asked), answer)]
