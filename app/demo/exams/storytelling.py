"""Stories about heroes with names that the training text does not contain; every character must be introduced."""

import random
import re
from collections.abc import Callable

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import PlainText
from app.demo.corpus.grammar import pick
from app.demo.corpus.stories import named_wish
from app.demo.corpus.story_cast import ANIMAL_NAMES, ANIMALS, PEOPLE, PEOPLE_KINDS, choose_cast
from app.demo.corpus.story_plots import OPENINGS
from app.demo.exams.exam import Exam, Question, asked

_KINDS = "|".join(dict.fromkeys((*ANIMALS, *PEOPLE_KINDS["she"], *PEOPLE_KINDS["he"])))
_KNOWN = {*PEOPLE, *ANIMAL_NAMES}
_WORD = re.compile(r"[^\W\d_]+")
_NEVER_NAMES = {"I", "The", "End", "Good"}


def names(story: str) -> list[str]:
    """The characters that are named, in order: known names, and capitalised words within a sentence."""
    found = {}
    for match in _WORD.finditer(story):
        word = match[0]
        inside = re.search(r"[\w,] $", story[: match.start()][-2:]) is not None
        if word in _KNOWN or (word[0].isupper() and inside and word not in _NEVER_NAMES):
            found[word] = True
    return list(found)


def kinds(name: str, story: str) -> set[str]:
    """What the story says a character is, such as a fox."""
    said = rf"""\b(?P<before>{_KINDS})\ (?:(?:named|called)\ )?{name}\b
        |\b{name}(?:,?\ the|,?\ an?|\ was\ an?)\ (?:\w+\ )?(?P<after>{_KINDS})\b
        |\bname\ of\ the\ (?P<of>{_KINDS})\ was\ {name}\b"""
    return {match[match.lastgroup or 0] for match in re.finditer(said, story, re.VERBOSE)}


def introduces_all(story: str) -> bool:
    """Whether every character is introduced as exactly one thing in the sentence that first names it."""
    for name in names(story):
        first = re.search(rf"\b{name}\b", story)
        before = story[: first.start()] if first else ""
        start = max(before.rfind(mark) for mark in (". ", "! ", "? ", '" ', "\n")) + 1
        sentence = re.split(r"[.!?\n]", story[start:].lstrip(' "'), maxsplit=1)[0]
        if not kinds(name, sentence) or len(kinds(name, story)) != 1:
            return False
    return True


def about(hero: str, kind: str, start: str = "") -> Callable[[str], bool]:
    """Checks whether a story of several sentences is about this hero, and introduces every character."""

    def right(reply: str) -> bool:
        story = start + reply.strip()
        return len(reply) > 100 and reply.strip()[-1] in '.!?"' and kind in kinds(hero, story) and introduces_all(story)

    return right


def _wish(rng: random.Random) -> Question:
    dice = Dice.for_exam(rng)
    cast = choose_cast(dice)
    return Question(asked("stories", named_wish(dice, cast)), about(cast.hero.name, cast.hero.kind))


def _continuation(rng: random.Random) -> Question:
    dice = Dice.for_exam(rng)
    cast = choose_cast(dice)
    start = pick(dice, OPENINGS, cast.slots())
    return Question(PlainText("story", start), about(cast.hero.name, cast.hero.kind, f"{start} "))


EXAMS: tuple[Exam, ...] = (
    Exam("stories name nobody who was not introduced", 0.9, _wish),
    Exam("stories continued so", 0.9, _continuation),
)
