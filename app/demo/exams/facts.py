"""Questions about known topics in words that the training text never uses for them, and about the chat itself."""

import random
from collections.abc import Callable

from app.demo.corpus.conversation import TOPICS
from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Chat, Exchange, Message
from app.demo.corpus.grammar import made_up_word
from app.demo.corpus.memory import introduction
from app.demo.corpus.names import a_name
from app.demo.corpus.smalltalk import REFUSALS
from app.demo.corpus.topic import ask_about, question, whole_answers
from app.demo.exams.exam import Exam, Question, asked


def one_of(answers: set[str]) -> Callable[[str], bool]:
    """Checks whether the reply is exactly one of these."""
    return lambda reply: reply.strip() in answers


def _fact(rng: random.Random) -> Question:
    dice = Dice.for_exam(rng)
    topic = dice.choice(TOPICS)
    return Question(asked("facts", question(dice, topic)), one_of(whole_answers(topic)))


def _unknown(rng: random.Random) -> Question:
    dice = Dice.for_exam(rng)
    return Question(asked("facts", ask_about(dice, made_up_word(dice), plural=False)), one_of(set(REFUSALS)))


def _name(rng: random.Random) -> Question:
    """A name at the start, a fact in between, and a question about the name."""
    dice = Dice.for_exam(rng)
    introduced, recalled = introduction(dice)
    topic = dice.choice(TOPICS)
    between = Exchange(question(dice, topic), sorted(whole_answers(topic))[0])
    messages: list[Message] = []
    for turn in (introduced, between):
        messages += [{"role": "user", "content": turn.user}, {"role": "assistant", "content": turn.assistant}]
    messages.append({"role": "user", "content": recalled.user})
    return Question(Chat("memory", tuple(messages)), one_of({recalled.assistant}))


def _copy(rng: random.Random) -> Question:
    dice = Dice.for_exam(rng)
    words = " ".join(a_name(dice) for _ in range(dice.randint(2, 6)))
    return Question(asked("copying", f"Repeat: {words}"), one_of({words}))


EXAMS: tuple[Exam, ...] = (
    Exam("facts", 0.95, _fact),
    Exam("what is not known", 0.9, _unknown),
    Exam("a name told before", 0.9, _name),
    Exam("names to repeat", 0.9, _copy),
)
