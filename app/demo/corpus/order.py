"""Order: sorting, days and months, letters, and words spelled forwards and backwards."""

from collections.abc import Callable
from typing import NamedTuple

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import pick, unmarked
from app.demo.corpus.names import made_up_name
from app.demo.corpus.words import WORDS

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
_SORT = ("Sort[ these numbers|]: {list}", "[Put|Arrange] {list} in order.", "Sort {list} from small to large.",
         "[Please sort|Order] the numbers {list}.", "Sort {list}.")  # fmt: skip
_SORT_DOWN = ("Sort {list} from large to small.", "[Put|Arrange] {list} in descending order.", "Sort {list} backwards.")
_LARGEST = ("[What|Which] is the largest of {list}?", "[Find|Give me] the largest number: {list}", "Max of {list}?")
_SMALLEST = ("[What|Which] is the smallest of {list}?", "[Find|Give me] the smallest number: {list}", "Min of {list}?")
_SORT_WORDS = ("Sort [these words |]alphabetically: {list}", "[Put|Arrange] {list} in alphabetical order.")
_SPELL = ("Spell [the word |]{word}.", "How do you spell {word}?", "[What are|Give me] the letters of {word}?")
_BACKWARDS = ("Spell [the word |]{word} backwards.", "[Write|Say] {word} backwards.",
              "[Reverse|Turn around] the word {word}.",
              "What is {word} [backwards|in reverse|spelled backwards]?")  # fmt: skip
_LETTERS = ("How many letters [are in|has] [the word |]{word}?", "Count the letters [in|of] {word}.")
_AFTER = ("What {unit} comes after {name}?", "Which {unit} is [right |]after {name}?")
_BEFORE = ("What {unit} comes before {name}?", "Which {unit} is [right |]before {name}?")
_LATER = ("What {unit} is {count} {unit}s after {name}?", "It is {name}. What {unit} is it in {count} {unit}s?",
          "Which {unit} comes {count} {unit}s after {name}?")  # fmt: skip


class Answered(NamedTuple):
    """A question, the whole answer, and the words of it that count, which come last."""

    asked: str
    answer: str
    last: str


def sorting(dice: Dice) -> Answered:
    """Numbers or words to put in order, or the end of such a row."""
    chance = dice.random()
    if chance < 0.2:
        words = dice.draw("list", lambda: tuple(sorted(dice.sample(WORDS, dice.randint(2, 4)))))
        shown = ", ".join(dice.sample(words, len(words)))
        return _same(pick(dice, _SORT_WORDS, {"list": shown}), ", ".join(words))
    row = dice.draw("list", lambda: tuple(sorted(dice.sample(range(100), dice.randint(3, 6)))))
    slots = {"list": ", ".join(map(str, dice.sample(row, len(row))))}
    if chance < 0.6:
        return _same(pick(dice, _SORT, slots), ", ".join(map(str, row)))
    if chance < 0.75:
        return _same(pick(dice, _SORT_DOWN, slots), ", ".join(map(str, reversed(row))))
    templates, chosen = (_LARGEST, row[-1]) if chance < 0.88 else (_SMALLEST, row[0])
    return _same(pick(dice, templates, slots), str(chosen))


def _same(asked: str, answer: str) -> Answered:
    return Answered(asked, answer, answer)


def days(dice: Dice) -> Answered:
    """A day or a month some steps from another; the steps are gone through one by one."""
    unit, names = dice.choice((("day", DAYS), ("month", MONTHS)))

    start, count = dice.draw("days", lambda: (dice.randrange(len(names)), dice.choice((-1, 1, 1, *range(2, 7)))))
    slots = {"unit": unit, "name": names[start], "count": str(count)}
    path = [names[(start + at) % len(names)] for at in range(1, count + 1)] or [names[start - 1]]
    asked = pick(dice, _BEFORE if count < 0 else _AFTER if count == 1 else _LATER, slots)
    steps = f"{', '.join(path)}. " if count > 1 else ""
    return Answered(asked, f"{steps}It is {path[-1]}.", f"It is {path[-1]}.")


def spelling(dice: Dice) -> Answered:
    """A word letter by letter, forwards, backwards or counted."""

    def some_word() -> str:
        return dice.choice(WORDS) if dice.random() < 0.5 else made_up_name(dice).lower()

    word = dice.draw("spelling", some_word)
    slots, letters = {"word": word}, "-".join(word)
    chance = dice.random()
    if chance < 0.3:
        return _same(pick(dice, _SPELL, slots), letters)
    if chance < 0.8:
        backwards = "-".join(reversed(word))
        return Answered(pick(dice, _BACKWARDS, slots), f"{letters} backwards is {backwards}", backwards)
    counted = ", ".join(f"{at} {letter}" for at, letter in enumerate(word, start=1))
    return Answered(pick(dice, _LETTERS, slots), f"{counted}: {len(word)} letters", f"{len(word)} letters")


def order_exchanges(dice: Dice) -> list[Exchange]:
    """One to four questions about order."""
    forms: tuple[Callable[[Dice], Answered], ...] = (sorting, sorting, days, spelling, spelling)
    rows = [dice.choice(forms)(dice) for _ in range(dice.choice((1, 2, 3, 4)))]
    return [Exchange(unmarked(dice, row.asked), row.answer) for row in rows]
