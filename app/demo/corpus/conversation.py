"""Conversations: exchanges of all kinds, put together as people put them together."""

from collections.abc import Callable, Iterator

from app.demo.corpus import millrace, prompts, sampling, serving, text_and_tokens
from app.demo.corpus.code import code_exchange
from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Chat, Exchange, Message
from app.demo.corpus.everyday import everyday_fact
from app.demo.corpus.grammar import pick
from app.demo.corpus.languages import foreign_greeting, foreign_words
from app.demo.corpus.lists import list_exchange
from app.demo.corpus.memory import forgotten_name, introduction, repetition
from app.demo.corpus.smalltalk import greeting, refusal, small_talk
from app.demo.corpus.stories import story_exchange
from app.demo.corpus.sums import sum_exchanges
from app.demo.corpus.topic import Topic, exchanges

TOPICS: tuple[Topic, ...] = text_and_tokens.TOPICS + prompts.TOPICS + sampling.TOPICS + serving.TOPICS + millrace.TOPICS

_SYSTEM = (
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "You are the small model inside Millrace.",
    "You are Millrace, a friendly assistant.",
    "Answer the questions of the user.",
    "You are a helpful assistant. Answer clearly.",
)


_ADDRESS = ("[Hi|Hello|Hey|Good morning][!|,|.]", "[OK|So|Well][,|]", "Please[,|]")


def _about_topic(dice: Dice) -> list[Exchange]:
    return exchanges(dice, dice.choice(TOPICS))


_EPISODES: tuple[tuple[float, Callable[[Dice], list[Exchange]]], ...] = (
    (0.39, _about_topic),
    (0.11, refusal),
    (0.10, sum_exchanges),
    (0.09, story_exchange),
    (0.07, small_talk),
    (0.06, code_exchange),
    (0.04, foreign_greeting),
    (0.03, foreign_words),
    (0.03, list_exchange),
    (0.03, everyday_fact),
    (0.06, repetition),
)


def _episode(dice: Dice) -> list[Exchange]:
    weights, makers = zip(*_EPISODES, strict=True)
    make: Callable[[Dice], list[Exchange]] = dice.choices(makers, weights)[0]
    return make(dice)


def _length(dice: Dice) -> int:
    """Episodes in one conversation: mostly one, seldom many, so that long contexts are seen too."""
    return dice.choices((1, 2, 3, 4, dice.randint(5, 12)), (0.55, 0.22, 0.12, 0.07, 0.04))[0]


def _turns(dice: Dice) -> list[Exchange]:
    """All exchanges of one conversation; a name told at the start is asked for at the end."""
    turns = [turn for _ in range(_length(dice)) for turn in _episode(dice)]
    chance = dice.random()
    if chance < 0.08:
        told, asked = introduction(dice)
        turns = [told, *turns, asked]
    elif chance < 0.10:
        turns.append(forgotten_name(dice))
    elif chance < 0.22:
        turns.insert(0, greeting(dice))
    if dice.random() < 0.08:
        turns[0] = Exchange(f"{pick(dice, _ADDRESS)} {turns[0].user}", turns[0].assistant)
    return turns


def _messages(turns: list[Exchange]) -> Iterator[Message]:
    for turn in turns:
        yield {"role": "user", "content": turn.user}
        yield {"role": "assistant", "content": turn.assistant}


def conversation(dice: Dice) -> Chat:
    """A chat of one or more episodes, with or without a greeting and a system message."""
    messages: list[Message] = []
    if dice.random() < 0.3:
        messages.append({"role": "system", "content": dice.choice(_SYSTEM)})
    return Chat("conversation", (*messages, *_messages(_turns(dice))))


def copying(dice: Dice) -> Chat:
    """A chat of nothing but words to repeat."""
    turns = [turn for _ in range(dice.randint(1, 3)) for turn in repetition(dice)]
    return Chat("copying", tuple(_messages(turns)))
