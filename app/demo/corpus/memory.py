"""Exchanges whose answer lies in the words of the user: names to remember and words to repeat."""

from typing import NamedTuple

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import made_up_word, pick, unmarked
from app.demo.corpus.json_fields import COLORS, JOBS
from app.demo.corpus.names import a_city, a_name
from app.demo.corpus.words import WORDS

_SAY_NAME = ("[My name is|I am|I'm|Call me|Hi, I am|Hello, my name is|You can call me] {name}[.|!|]",)
_NICE = ("Nice to meet you, {name}! [What would you like to know?|How can I help you?]", "Hello, {name}!")
_ASK_NAME = ("[What is|What's|Do you know|Do you remember] my name?", "Who am I?", "What did I say my name was?")
_NOT_TOLD = "You have not told me that."


class _Fact(NamedTuple):
    """Something that users tell about themselves, what is said to it, how it is asked for later, and the answer."""

    said: str
    reply: str
    asked: str
    answer: str


_FACTS = (
    _Fact("I [live in|am from|come from] {city}.", "{city} [sounds like a nice place|must be nice].",
          "[Where do I live|Where am I from|Which city do I come from]?", "You are from {city}."),
    _Fact("I am {age} years old.", "Thank you for telling me.", "[How old am I|What is my age]?",
          "You are {age} years old."),
    _Fact("My favorite color is {color}.", "I like {color}, too.",
          "[What is|What's|Do you remember] my favorite color?", "Your favorite color is {color}."),
    _Fact("I have a {animal} [called|named] {pet}.", "{pet} is a nice name for a {animal}.",
          "[What is my {animal} called|What is the name of my {animal}]?", "Your {animal} is called {pet}."),
    _Fact("I [work as|am] a {job}.", "That sounds like good work.",
          "[What is my job|What do I do for a living|What is my work]?", "You are a {job}."),
    _Fact("My [best |]friend is called {pet}.", "{pet} is a good name.",
          "[What is my friend called|What is the name of my friend]?", "Your friend is called {pet}."),
    _Fact("[Remember|Keep in mind] the word {word}.", "I will remember {word}.",
          "[What was the word|Which word did I tell you|What should you remember]?", "The word was {word}."),
    _Fact("[Remember|Keep in mind] the number {number}.", "I will remember {number}.",
          "[What was the number|Which number did I tell you]?", "The number was {number}."),
)  # fmt: skip
_REPEAT = (
    "[Repeat|Say|Write]: {words}",
    "Repeat after me: {words}",
    "[Please repeat|Say] the words {words}.",
    'Say "{words}".',
    "[Say|Repeat] {words}.",
)


def introduction(dice: Dice) -> tuple[Exchange, Exchange]:
    """The user's name, and the later question for it."""
    slots = {"name": a_name(dice)}
    told = Exchange(pick(dice, _SAY_NAME, slots), pick(dice, _NICE, slots))
    asked = Exchange(pick(dice, _ASK_NAME), f"Your name is {slots['name']}.")
    return told, asked


def forgotten_name(dice: Dice) -> Exchange:
    """A question for a name that was never told."""
    return Exchange(pick(dice, _ASK_NAME), "You have not told me your name. What is it?")


def told_facts(dice: Dice) -> list[tuple[Exchange, Exchange]]:
    """One to three things told by the user, each with the later question for it."""
    slots = {
        "city": a_city(dice), "age": str(dice.randint(6, 95)), "color": dice.choice(COLORS), "pet": a_name(dice),
        "animal": dice.choice(("cat", "dog", "horse", "bird", "rabbit", "goat", "hamster", "fish")),
        "job": dice.choice(JOBS), "word": dice.choice(WORDS), "number": str(dice.randint(2, 999)),
    }  # fmt: skip
    pairs = [introduction(dice)] if dice.random() < 0.5 else []
    chosen = dice.sample(_FACTS, dice.choice((0, 1, 1, 2)) if pairs else dice.choice((1, 1, 2, 3)))
    return pairs + [
        (
            Exchange(unmarked(dice, pick(dice, (fact.said,), slots)), pick(dice, (fact.reply,), slots)),
            Exchange(pick(dice, (fact.asked,), slots), pick(dice, (fact.answer,), slots)),
        )
        for fact in chosen
    ]


def untold_fact(dice: Dice) -> Exchange:
    """A question for something that was never told."""
    if dice.random() < 0.4:
        return forgotten_name(dice)
    fact = dice.choice(_FACTS)
    return Exchange(pick(dice, (fact.asked,), {"animal": dice.choice(("cat", "dog", "horse"))}), _NOT_TOLD)


def repetition(dice: Dice) -> list[Exchange]:
    """Words to say again, in the same order."""
    words = " ".join(_anything(dice) for _ in range(dice.randint(1, 12)))
    return [Exchange(pick(dice, _REPEAT, {"words": words}), words)]


def _anything(dice: Dice) -> str:
    form = dice.random()
    if form < 0.55:
        return dice.choice(WORDS)
    if form < 0.75:
        return a_name(dice)
    if form < 0.85:
        return str(dice.randrange(100))
    return made_up_word(dice)
