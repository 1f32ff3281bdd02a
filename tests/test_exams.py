"""The exams: each question has a right reply, and wrong ones do not pass."""

import random

import pytest

from app.demo.exams import EXAMS, Exam
from app.demo.exams.arithmetic import ends_with


@pytest.mark.parametrize("exam", EXAMS, ids=lambda exam: exam.name)
def test_a_question_ends_with_what_is_to_be_answered_and_nonsense_is_wrong(exam: Exam) -> None:
    for seed in range(30):
        question = exam.ask(random.Random(seed))
        assert exam.ask(random.Random(seed)).document == question.document
        assert not question.right("")
        assert not question.right("I am sorry, but I do not know about that.")


def test_the_number_that_counts_is_the_last_one_after_an_equals_sign() -> None:
    right = ends_with(85)
    assert right("47 + 38 = 85")
    assert right("7 + 8 = 15, 4 + 3 + 1 = 8, so 47 + 38 = 85.")
    assert not right("85")
    assert not right("47 + 38 = 185")
    assert not right("47 + 38 = 85, so 1 + 1 = 2")
