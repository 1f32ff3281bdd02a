"""Short thought before an answer: in so many words where it is wished for, and in a chat that was begun with it."""

from collections.abc import Callable
from typing import NamedTuple

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Chat, Exchange, Message
from app.demo.corpus.grammar import capitalized, pick
from app.demo.corpus.names import a_name
from app.demo.corpus.order import sorting, spelling
from app.demo.corpus.smalltalk import refusal, small_talk
from app.demo.corpus.sums import calculation, key
from app.demo.corpus.worked import is_table, worked

_THINK = ("Think step by step[: |. ]", "Think first[: |. ]", "Think before you answer[: |. ]",
          "Reason step by step[: |. ]",
          "[Please think|Think carefully][: |. ]")  # fmt: skip
_THINK_AFTER = (" Think step by step.", " Think first.", " Think before you answer.", " Explain your thinking.",
                " Reason step by step.")  # fmt: skip
_THINGS = ("apples", "stones", "shells", "books", "coins", "cookies", "marbles", "pencils", "nuts", "stamps")
_GAIN = ("buys {n} more", "finds {n} more", "gets {n} more")
_LOSS = ("gives {n} away", "loses {n}", "sells {n}")
_WORSE = {"older": ("younger", "oldest", "youngest"), "taller": ("shorter", "tallest", "shortest"),
          "faster": ("slower", "fastest", "slowest"), "stronger": ("weaker", "strongest", "weakest")}  # fmt: skip


class Thought(NamedTuple):
    """A question, what is thought about it, the answer, and the words of it that count, which come last."""

    asked: str
    thought: str
    answer: str
    last: str

    def written(self) -> str:
        """Thought and answer, in the markup of Qwen."""
        return f"<think>\n{self.thought}\n</think>\n\n{self.answer}"


def two_steps(dice: Dice) -> Thought:
    """Something is got and something given away, in either order."""

    def known(left: int, sign: str, right: int) -> bool:
        return (is_table(left, sign, right) and not dice.exam) or dice.may_use(*key(left, sign, right))

    while True:
        first, gain, loss = dice.randint(5, 60), dice.randint(2, 39), dice.randint(2, 39)
        steps = [(gain, "+", _GAIN), (loss, "-", _LOSS)]
        dice.shuffle(steps)
        (one, sign, verb), (two, then, verb_then) = steps
        between = first + one if sign == "+" else first - one
        last = first + gain - loss
        if min(between, last) >= 0 and known(first, sign, one) and known(between, then, two):
            break
    slots = {"who": a_name(dice), "things": dice.choice(_THINGS), "first": str(first)}
    doing = pick(dice, verb, {"n": str(one)}) + " and then " + pick(dice, verb_then, {"n": str(two)})
    asked = pick(dice, (
        "{who} has {first} {things}, " + doing + ". How many {things} does {who} have?",
        "{who} has {first} {things}. {who} " + doing + ". How many {things} are left?",
    ), slots)  # fmt: skip
    answer = f"{slots['who']} has {last} {slots['things']}."
    return Thought(asked, f"{worked(first, sign, one)}\n{worked(between, then, two)}", answer, answer)


def ranking(dice: Dice) -> Thought:
    """Who is the most or the least of three."""
    names: list[str] = []
    while len(names) < 3:
        names = list(dict.fromkeys([*names, a_name(dice)]))
    more, (less, most, least) = dice.choice(tuple(_WORSE.items()))
    facts = [(names[0], names[1]), (names[1], names[2])]
    dice.shuffle(facts)
    told = [f"{a} is {more} than {b}." if dice.random() < 0.6 else f"{b} is {less} than {a}." for a, b in facts]
    wanted, who = dice.choice(((most, names[0]), (least, names[2])))
    answer = f"{who} is the {wanted}."
    return Thought(f"{' '.join(told)} Who is the {wanted}?", f"{more}: {', '.join(names)}", answer, answer)


def _sum(dice: Dice) -> Thought:
    asked, steps, _ = calculation(dice, dice.choice("++-*"))
    work, _, last = steps.rpartition(", so ")
    return Thought(asked, work or "This is a small one.", last, last)


def _ordered(dice: Dice) -> Thought:
    row = dice.choice((sorting, spelling))(dice)
    work = row.answer.removesuffix(row.last).rstrip(" :") or "I compare them one by one."
    return Thought(row.asked, work, row.last, row.last)


def _known(turn: Exchange, thought: str) -> Thought:
    return Thought(turn.user, thought, turn.assistant, turn.assistant)


def _talk(dice: Dice) -> Thought:
    return _known(small_talk(dice)[0], "This is small talk. A short, friendly answer is best.")


def _unknown(dice: Dice) -> Thought:
    return _known(refusal(dice)[0], "I do not know about this, and I should say so.")


HARD: tuple[Callable[[Dice], Thought], ...] = (two_steps, two_steps, ranking, ranking, _sum, _ordered)
"""What is worth a thought; the rest is thought about only in a chat that was begun with it."""


def asked_to_think(dice: Dice, problem: Thought) -> str:
    """The question with a wish for thought, before or after it."""
    if dice.random() < 0.6:
        return pick(dice, _THINK) + problem.asked
    return capitalized(problem.asked) + pick(dice, _THINK_AFTER)


def thinking_chat(dice: Dice, known: Callable[[Dice], Thought]) -> Chat:
    """One question that is thought about; `known` gives questions whose answers need no thought."""
    thinking = dice.random() < 0.5
    forms = (*HARD, known, known, _talk, _unknown) if thinking else HARD
    problem = dice.choice(forms)(dice)
    asked = problem.asked if thinking else asked_to_think(dice, problem)
    question: Message = {"role": "user", "content": asked}
    reply: Message = {"role": "assistant", "content": problem.written()}
    return Chat("thinking", (question, reply), (), thinking)
