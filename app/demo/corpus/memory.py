"""Exchanges whose answer lies in the words of the user: names to remember and words to repeat."""

import random

from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import made_up_word, pick

_NAMES = (
    "Alex Alice Amir Anna Ben Bob Carol Chen Clara Dana David Diego Elena Emma Eric Eva Felix Fatima Grace Hana Hugo "
    "Igor Ines Ivan Jack Jane John Julia Karl Kate Kim Lara Leo Lily Lucas Luis Maria Mark Max Mei Mia Nadia Nina Nora "
    "Olga Omar Oscar Paul Peter Priya Raj Robin Rosa Ruth Sam Sara Sofia Tim Tom Uma Vera Victor Will Yuki Zoe"
)
_WORDS = (
    "apple river stone cloud lantern token stream mill wheel garden fox bell green seven window paper bread morning "
    "kite water silver bridge cache music table winter small light road flower hat boat one two three red blue bear "
    "key drum map ring book ball flute golden white shiny horse duck robot dragon frog turtle girl boy baker sailor "
    "garden village sea forest hill oak well barn kitchen wall sun star rain snow tree leaf fish bird egg milk soup tea"
)
_SAY_NAME = ("[My name is|I am|I'm|Call me|Hi, I am|Hello, my name is|You can call me] {name}[.|!|]",)
_NICE = ("Nice to meet you, {name}! [What would you like to know?|How can I help you?]", "Hello, {name}!")
_ASK_NAME = ("[What is|What's|Do you know|Do you remember] my name?", "Who am I?", "What did I say my name was?")
_REPEAT = (
    "[Repeat|Say|Write]: {words}",
    "Repeat after me: {words}",
    "[Please repeat|Say] the words {words}.",
    'Say "{words}".',
    "[Say|Repeat] {words}.",
)


def introduction(rng: random.Random) -> tuple[Exchange, Exchange]:
    """The user's name, and the later question for it."""
    slots = {"name": rng.choice(_NAMES.split())}
    told = Exchange(pick(rng, _SAY_NAME, slots), pick(rng, _NICE, slots))
    asked = Exchange(pick(rng, _ASK_NAME), f"Your name is {slots['name']}.")
    return told, asked


def forgotten_name(rng: random.Random) -> Exchange:
    """A question for a name that was never told."""
    return Exchange(pick(rng, _ASK_NAME), "You have not told me your name. What is it?")


def repetition(rng: random.Random) -> list[Exchange]:
    """Words to say again, in the same order."""
    words = " ".join(_anything(rng) for _ in range(rng.randint(1, 12)))
    return [Exchange(pick(rng, _REPEAT, {"words": words}), words)]


def _anything(rng: random.Random) -> str:
    form = rng.random()
    if form < 0.55:
        return rng.choice(_WORDS.split())
    if form < 0.75:
        return rng.choice(_NAMES.split())
    if form < 0.85:
        return str(rng.randrange(100))
    return made_up_word(rng)
