"""Sums, differences and products of numbers that were never seen together."""

import random
from collections.abc import Callable

from app.demo.corpus.dice import Dice
from app.demo.corpus.sums import calculation
from app.demo.exams.exam import Exam, Question, asked


def _exam(name: str, wanted: float, sign: str) -> Exam:
    def ask(rng: random.Random) -> Question:
        question, _, result = calculation(Dice.for_exam(rng), sign)
        return Question(asked("sums", question), ends_with(result))

    return Exam(name, wanted, ask)


def ends_with(number: int) -> Callable[[str], bool]:
    """Whether the last number of the reply, which stands after an equals sign, is this one."""

    def right(reply: str) -> bool:
        _, sign, last = reply.strip().removesuffix(".").rpartition("= ")
        return bool(sign) and last == str(number)

    return right


EXAMS: tuple[Exam, ...] = (
    _exam("sums", 0.97, "+"),
    _exam("differences", 0.95, "-"),
    _exam("products", 0.9, "*"),
)
