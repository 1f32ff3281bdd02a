"""Sequences, days and words that the training text never puts in order, and questions that require reasoning."""

import random
import re
from collections.abc import Callable

from app.demo.corpus.dice import Dice
from app.demo.corpus.order import Answered, days, sorting, spelling
from app.demo.corpus.reasoning import Thought, asked_to_think, ranking, two_steps
from app.demo.exams.exam import Exam, Question, asked

_THOUGHT = re.compile(r"<think>\n(.*\S.*)\n</think>\n\n(.*)", re.DOTALL)


def ends_in(last: str) -> Callable[[str], bool]:
    """Checks whether the reply ends with these words, alone or after a space."""
    return lambda reply: f" {reply.strip()}".endswith(f" {last}")


def thought_and_said(answer: str) -> Callable[[str], bool]:
    """Checks whether the reply is non-empty reasoning followed by this answer."""

    def right(reply: str) -> bool:
        match = _THOUGHT.fullmatch(reply.strip())
        return match is not None and match[2] == answer

    return right


def _order(name: str, wanted: float, make: Callable[[Dice], Answered]) -> Exam:
    def ask(rng: random.Random) -> Question:
        row = make(Dice.for_exam(rng))
        return Question(asked("order", row.asked), ends_in(row.last))

    return Exam(name, wanted, ask)


def _reasoning(name: str, wanted: float, make: Callable[[Dice], Thought]) -> Exam:
    def ask(rng: random.Random) -> Question:
        dice = Dice.for_exam(rng)
        problem = make(dice)
        return Question(asked("thinking", asked_to_think(dice, problem)), thought_and_said(problem.answer))

    return Exam(name, wanted, ask)


EXAMS: tuple[Exam, ...] = (
    _order("sorting", 0.9, sorting),
    _order("days and months", 0.9, days),
    _order("spelling", 0.8, spelling),
    _reasoning("two steps, thought about", 0.8, two_steps),
    _reasoning("who is the tallest, thought about", 0.9, ranking),
)
