"""Functions whose name and parameters never occur together in the training text; they are run and checked."""

import random
from collections.abc import Callable

from app.demo.corpus.code import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, Function, function, holed, wish
from app.demo.corpus.dice import Dice
from app.demo.corpus.document import PlainText
from app.demo.exams.exam import Exam, Question, asked
from app.demo.exams.sandbox import results

_INTEGERS = (0, 1, 2, 3, 5, 8, 12, 30)
_ROWS = ([1, 2, 3, 4, 5, 6], [3, 1, 2, 3], [7], [40, 2, 99, 2, 15])
_TEXTS = ("a", "level", "banana", "Hello World", "a mill by the river")
_VALUES: dict[str, tuple[object, ...]] = {
    "int": _INTEGERS,
    "list[int]": _ROWS,
    "str": _TEXTS,
    "list[str]": (["oak", "fir", "ash"], ["river", "mill"], ["bell"]),
}


def calls(wished: Function) -> list[list[object]]:
    """Arguments that distinguish a right function from a wrong one, the sample's own first."""
    columns = [_VALUES[kind] for _, kind in wished.sample.parameters]
    count = max(map(len, columns))
    # Each column advances by its own amount, so that two numbers are not always the same.
    return [list(wished.sample.arguments)] + [
        [column[(at * (place + 1) + place) % len(column)] for place, column in enumerate(columns)]
        for at in range(count)
    ]


def agrees(source: str, wished: Function) -> bool:
    """Whether the text defines a function with the same results as the one wished for."""
    expected = results(wished.source(), wished.name, calls(wished))
    return expected is not None and results(source, wished.name, calls(wished)) == expected


def _fenced(wished: Function) -> Callable[[str], bool]:
    def right(reply: str) -> bool:
        _, opening, rest = reply.partition("```python\n")
        source, closing, _ = rest.partition("\n```")
        return bool(opening and closing) and agrees(source, wished)

    return right


def _chat(rng: random.Random) -> Question:
    text, wished = wish(Dice.for_exam(rng))
    return Question(asked("code", text), _fenced(wished))


def _completion(rng: random.Random) -> Question:
    dice = Dice.for_exam(rng)
    wished = function(dice, annotated=dice.random() < 0.4)
    start = wished.source().removesuffix(wished.body)
    return Question(PlainText("code", start), lambda reply: agrees(start + reply, wished))


def _hole(rng: random.Random) -> Question:
    before, _, after, wished = holed(Dice.for_exam(rng))
    text = f"{FIM_PREFIX}{before}{FIM_SUFFIX}{after}{FIM_MIDDLE}"
    return Question(PlainText("hole", text), lambda reply: agrees(before + reply + after, wished))


EXAMS: tuple[Exam, ...] = (
    Exam("functions asked for", 0.85, _chat),
    Exam("functions from signature and docstring", 0.85, _completion),
    Exam("holes in functions", 0.85, _hole),
)
