"""Sums, differences and products of numbers that never occur together in the training text."""

import random
from collections.abc import Callable

from app.demo.corpus.dice import Dice
from app.demo.corpus.sums import calculation, word_problem
from app.demo.exams.exam import Exam, Question, asked


def _exam(name: str, wanted: float, sign: str) -> Exam:
    def ask(rng: random.Random) -> Question:
        question, _, result = calculation(Dice.for_exam(rng), sign)
        return Question(asked("sums", question), ends_with(result))

    return Exam(name, wanted, ask)


def ends_with(number: int) -> Callable[[str], bool]:
    """Checks whether the last number of the reply, after an equals sign, is this one."""

    def right(reply: str) -> bool:
        _, sign, last = reply.strip().removesuffix(".").rpartition("= ")
        return bool(sign) and last == str(number)

    return right


def _one_digit(rng: random.Random) -> Question:
    """A sum of two digits, which the training text contains, in words that it does not."""
    dice = Dice.for_exam(rng)
    left, right = dice.randint(0, 9), dice.randint(0, 9)
    asked_for = dice.choice((f"Hey, do you happen to know {left} + {right}?", f"Now add {left} plus {right} up."))
    return Question(asked("sums", asked_for), ends_with(left + right))


def _in_a_story(rng: random.Random) -> Question:
    question, answer, _ = word_problem(Dice.for_exam(rng))
    last = answer.rpartition(". ")[2]
    return Question(asked("sums", question), lambda reply: reply.strip().endswith(last))


EXAMS: tuple[Exam, ...] = (
    _exam("sums of one and two digits", 0.97, "+"),
    Exam("sums of one digit, asked in new words", 0.97, _one_digit),
    _exam("differences", 0.95, "-"),
    _exam("products", 0.9, "*"),
    Exam("sums told as stories", 0.9, _in_a_story),
)
