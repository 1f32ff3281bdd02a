"""Conversations: exchanges of all kinds, put together as people put them together."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from app.demo.corpus import millrace, prompts, sampling, serving, text_and_tokens
from app.demo.corpus.code import code_exchange
from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Chat, Exchange, Message
from app.demo.corpus.everyday import everyday_fact
from app.demo.corpus.grammar import pick
from app.demo.corpus.json_records import json_exchanges
from app.demo.corpus.languages import foreign_greeting, foreign_words
from app.demo.corpus.lists import list_exchange
from app.demo.corpus.memory import repetition, told_facts, untold_fact
from app.demo.corpus.order import order_exchanges
from app.demo.corpus.reasoning import Thought, thinking_chat
from app.demo.corpus.smalltalk import farewell, greeting, refusal, small_talk
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
    (0.30, _about_topic),
    (0.13, refusal),
    (0.08, sum_exchanges),
    (0.05, story_exchange),
    (0.08, small_talk),
    (0.04, code_exchange),
    (0.05, foreign_greeting),
    (0.05, foreign_words),
    (0.04, list_exchange),
    (0.06, everyday_fact),
    (0.05, order_exchanges),
    (0.02, json_exchanges),
    (0.05, repetition),
)


def _episode(dice: Dice) -> list[Exchange]:
    weights, makers = zip(*_EPISODES, strict=True)
    make: Callable[[Dice], list[Exchange]] = dice.choices(makers, weights)[0]
    return make(dice)


def _length(dice: Dice) -> int:
    """Episodes in one conversation: mostly a few, seldom many, so that long contexts are seen too."""
    return dice.choices((1, 2, 3, 4, 6, 8), (0.22, 0.24, 0.2, 0.18, 0.11, 0.05))[0]


def _turns(dice: Dice) -> list[Exchange]:
    """All exchanges of one conversation; what is told at its start is asked for later."""
    episodes = [_episode(dice) for _ in range(_length(dice))]
    chance = dice.random()
    if chance < 0.25:
        pairs = told_facts(dice)
        episodes = [[told] for told, _ in pairs] + episodes
        for _, asked in pairs:
            episodes.insert(dice.randint(len(pairs), len(episodes)), [asked])
    elif chance < 0.30:
        episodes.insert(dice.randint(0, len(episodes)), [untold_fact(dice)])
    if dice.random() < 0.2:
        episodes.insert(0, [greeting(dice)])
    if dice.random() < 0.15:
        episodes.append(farewell(dice))
    first, *others = (turn for episode in episodes for turn in episode)
    if dice.random() < 0.08:
        first = Exchange(f"{pick(dice, _ADDRESS)} {first.user}", first.assistant)
    return [first, *others]


def _messages(turns: list[Exchange]) -> Iterator[Message]:
    for turn in turns:
        yield {"role": "user", "content": turn.user}
        yield {"role": "assistant", "content": turn.assistant}


def _chat(dice: Dice, kind: str, turns: list[Exchange]) -> Chat:
    messages: list[Message] = []
    if dice.random() < 0.2:
        messages.append({"role": "system", "content": dice.choice(_SYSTEM)})
    return Chat(kind, (*messages, *_messages(turns)))


def conversation(dice: Dice) -> Chat:
    """A chat of episodes of all kinds, with or without a greeting and a system message."""
    return _chat(dice, "conversation", _turns(dice))


def of_kind(kind: str, episode: Callable[[Dice], list[Exchange]]) -> Callable[[Dice], Chat]:
    """A chat of one episode."""
    return lambda dice: _chat(dice, kind, episode(dice))


def about_topics(dice: Dice) -> Chat:
    """A chat about one to four topics, small talk, everyday facts, or what is not known."""
    forms = (*[_about_topic] * 8, everyday_fact, refusal, refusal)
    return _chat(dice, "facts", [turn for _ in range(dice.choice((1, 2, 2, 3))) for turn in dice.choice(forms)(dice)])


def _known_topic(dice: Dice) -> Thought:
    topic = dice.choice(TOPICS)
    turn = exchanges(dice, topic)[0]
    about = (*topic.names, *topic.plural_names, "me or Millrace")[0]
    return Thought(turn.user, f"This is about {about}. I know this.", turn.assistant, turn.assistant)


def thoughtful(dice: Dice) -> Chat:
    """A question with a thought before its answer, now and then after other turns."""
    chat = thinking_chat(dice, _known_topic)
    before = [turn for _ in range(dice.choice((0, 0, 0, 1, 2))) for turn in _episode(dice)]
    return replace(chat, messages=(*_messages(before), *chat.messages))


def copying(dice: Dice) -> Chat:
    """A chat of nothing but words to repeat."""
    return Chat("copying", tuple(_messages([turn for _ in range(dice.randint(1, 3)) for turn in repetition(dice)])))
