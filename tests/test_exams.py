"""The exams: each question has a right reply, and wrong ones do not pass."""

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter
from typing import Any

import pytest

from app.demo.corpus.code import FIM_MIDDLE, fenced, function, holed, wish
from app.demo.corpus.dice import Dice
from app.demo.corpus.json_records import extraction, invention
from app.demo.corpus.order import days, sorting, spelling
from app.demo.corpus.reasoning import ranking, two_steps
from app.demo.corpus.stories import tell
from app.demo.corpus.story_cast import choose_cast
from app.demo.corpus.sums import calculation, word_problem
from app.demo.corpus.tool_talk import NO_TOOL, Use, toolbox, use
from app.demo.exams import EXAMS, Exam
from app.demo.exams.arithmetic import ends_with
from app.demo.exams.facts import one_of
from app.demo.exams.ordering import ends_in, thought_and_said
from app.demo.exams.programs import agrees
from app.demo.exams.sandbox import results
from app.demo.exams.storytelling import about, introduces_all, names
from app.demo.exams.structured import calls, fits, holds

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo", "day": "today"}}\n</tool_call>'


@pytest.mark.parametrize("exam", EXAMS, ids=lambda exam: exam.name)
def test_a_question_follows_from_its_seed_and_nonsense_is_wrong(exam: Exam) -> None:
    for seed in range(3):
        question = exam.ask(random.Random(seed))
        assert exam.ask(random.Random(seed)).document == question.document
        assert not question.right("")
        assert not question.right("I do not know what to say.")
    assert len({str(exam.ask(random.Random(seed)).document) for seed in range(20)}) > 10


def answered(make: Callable[[Dice], Any], reply: Callable[[Any], str]) -> Callable[[random.Random], str]:
    return lambda rng: reply(make(Dice.for_exam(rng)))


def used(dice: Dice) -> Use:
    tools = toolbox(dice, dice.randint(1, 4))
    return use(dice, dice.choice(tools))


PERFECT: dict[str, Callable[[random.Random], str]] = {
    "sums of one and two digits": answered(lambda dice: calculation(dice, "+"), itemgetter(1)),
    "differences": answered(lambda dice: calculation(dice, "-"), itemgetter(1)),
    "products": answered(lambda dice: calculation(dice, "*"), itemgetter(1)),
    "sums told as stories": answered(word_problem, itemgetter(1)),
    "functions asked for": answered(wish, lambda made: fenced(made[1])),
    "functions from signature and docstring": answered(
        lambda dice: function(dice, annotated=dice.random() < 0.4), lambda made: f"{made.body}\n"
    ),
    "holes in functions": answered(holed, itemgetter(1)),
    "JSON valid to its schema": answered(partial(extraction, stated=True), lambda made: json.dumps(made[1].values)),
    "JSON with the values of the text": answered(
        partial(extraction, stated=True), lambda made: json.dumps(made[1].values)
    ),
    "JSON with named fields": answered(partial(extraction, stated=False), lambda made: json.dumps(made[1].values)),
    "JSON made up to a schema": answered(invention, lambda made: json.dumps(made[1].values)),
    "right tool, right arguments": answered(used, lambda made: "\n".join(made.calls)),
    "the reply after a tool's answer": answered(used, lambda made: str(made.reply)),
    "no tool fits": lambda _: NO_TOOL,
    "stories name nobody who was not introduced": answered(lambda dice: tell(dice, choose_cast(dice)), str),
    "sorting": answered(sorting, lambda row: str(row.answer)),
    "days and months": answered(days, lambda row: str(row.answer)),
    "spelling": answered(spelling, lambda row: str(row.answer)),
    "two steps, thought about": answered(two_steps, lambda problem: str(problem.written())),
    "who is the tallest, thought about": answered(ranking, lambda problem: str(problem.written())),
}
"""What somebody who learned the training text by heart, and its rules, would reply."""


@pytest.mark.parametrize("name", PERFECT)
def test_an_answer_as_the_training_text_gives_it_is_right(name: str) -> None:
    exam = next(exam for exam in EXAMS if exam.name == name)
    for seed in range(5):
        reply = PERFECT[name](random.Random(seed))
        assert exam.ask(random.Random(seed)).right(reply), reply


def test_exams_have_different_names_and_want_most_of_the_answers() -> None:
    assert len({exam.name for exam in EXAMS}) == len(EXAMS)
    assert all(0.8 <= exam.wanted < 1 for exam in EXAMS)


def test_the_number_that_counts_is_the_last_one_after_an_equals_sign() -> None:
    right = ends_with(85)
    assert right("47 + 38 = 85")
    assert right("7 + 8 = 15, 4 + 3 + 1 = 8, so 47 + 38 = 85.")
    assert not right("85")
    assert not right("47 + 38 = 185")
    assert not right("47 + 38 = 85, so 1 + 1 = 2")


def test_a_fact_is_right_word_for_word() -> None:
    right = one_of({"A token is a piece of text."})
    assert right(" A token is a piece of text.\n")
    assert not right("A token is a piece of text. And more.")


def test_json_must_be_valid_and_nothing_else() -> None:
    right = fits(SCHEMA)
    assert right('{"name": "Mira", "age": 31}')
    assert not right('{"name": "Mira", "age": "31"}')
    assert not right('{"age": 31}')
    assert not right('Here it is: {"name": "Mira"}')
    assert not right('{"name": "Mira"')
    assert holds({"name": "Mira"})('{"name":"Mira"}')
    assert not holds({"name": "Mira"})('{"name": "Mirra"}')
    assert not holds({"name": "Mira"})("Mira")


def test_a_call_must_have_the_right_name_and_the_right_arguments_and_nothing_around_it() -> None:
    right = calls((CALL,))
    assert right(CALL)
    assert right('<tool_call>{"arguments": {"day": "today", "city": "Oslo"}, "name": "get_weather"}</tool_call>')
    for wrong in (
        CALL.replace("Oslo", "Olso"),
        CALL.replace("get_weather", "weather"),
        CALL.replace("</tool_call>", ""[1:]) + "}",
        f"Let me see. {CALL}",
        f"{CALL}\n{CALL}",
        json.dumps({"name": "get_weather", "arguments": {"city": "Oslo", "day": "today"}}),
    ):
        assert not right(wrong), wrong
    assert calls((CALL, CALL))(f"{CALL}\n{CALL}")


def test_a_function_is_run_and_must_give_what_was_wished_for() -> None:
    wished = function(Dice(1))
    assert agrees(wished.source(), wished)
    assert not agrees(wished.source().replace("return ", "return not "), wished)
    assert not agrees(wished.source().replace(f"def {wished.name}", "def other"), wished)
    assert not agrees(wished.source().removesuffix(wished.body), wished)


@pytest.mark.parametrize(
    "body",
    [
        "import os",
        "open('/etc/passwd')",
        "1 / 0",
        "(lambda f: f(f))(lambda f: f(f))",
        "[0] * 10**9",
        "print(end",
        "{1}",
    ],
)
def test_a_function_that_does_what_it_may_not_has_no_results(body: str) -> None:
    assert results(f"def f(x):\n    {body}\n    return {{1}}", "f", [[1]]) is None
    assert results("def f(x):\n    return x + 1", "f", [[1], [2]]) == [2, 3]


def test_a_function_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.demo.exams.sandbox.CPU_SECONDS", 1)
    assert results("def f(x):\n    while True:\n        pass", "f", [[1]]) is None


def test_the_right_middle_of_a_hole_makes_the_function_whole() -> None:
    exam = next(exam for exam in EXAMS if exam.name == "holes in functions")
    for seed in range(3):
        question = exam.ask(random.Random(seed))
        assert str(question.document).count(FIM_MIDDLE) == 1
        assert not question.right("pass pass")


def stories(count: int) -> Iterator[tuple[str, str, str]]:
    for seed in range(count):
        dice = Dice.for_exam(random.Random(seed))
        cast = choose_cast(dice)
        yield tell(dice, cast), cast.hero.name, cast.hero.kind


def test_stories_as_they_are_written_introduce_everybody() -> None:
    for story, hero, kind in stories(300):
        assert about(hero, kind)(story), story
        assert not about("Nobody", kind)(story)


def test_a_story_that_names_somebody_who_was_not_introduced_is_wrong() -> None:
    for story, hero, kind in stories(30):
        assert not about(hero, kind)(f"{story} Then Walter came home.")
        assert not about(hero, kind)(f"{story} They met {hero} the zebra, and then the little Grumbeau.")


def test_nobody_is_two_things_at_once() -> None:
    start = "Once upon a time, a shy fox named Pim lived by the sea."
    assert introduces_all(f"{start} Pim the fox met a bear named Ola, and Pim and Ola laughed.")
    assert not introduces_all(f"{start} Pim the bear went home.")
    assert not introduces_all(f"{start} One day Pim met Ola. Ola was a bear.")
    assert names(f'{start} "Thank you," said Ola. The end.') == ["Pim", "Ola"]


def test_an_order_is_right_at_the_end_of_the_reply() -> None:
    right = ends_in("3, 12, 40")
    assert right("3, 12, 40")
    assert right("In order: 3, 12, 40")
    assert not right("13, 12, 40"[1:] + ", 41")
    assert not right("23, 12, 40")


def test_a_thought_must_be_there_and_the_answer_must_follow_it() -> None:
    right = thought_and_said("Mira has 17 apples.")
    assert right("<think>\n14 + 3 = 17\n</think>\n\nMira has 17 apples.")
    assert not right("<think>\n\n</think>\n\nMira has 17 apples.")
    assert not right("Mira has 17 apples.")
    assert not right("<think>\n14 + 3 = 18\n</think>\n\nMira has 18 apples.")
