"""A seeded, endless stream of training text, all of it made by the grammars and simulators of this package."""

from collections.abc import Callable, Iterator

from app.demo.corpus.code import code_exchanges, hole, module
from app.demo.corpus.conversation import TOPICS, about_topics, conversation, copying, of_kind, thoughtful
from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Chat, Document, PlainText
from app.demo.corpus.json_records import json_exchanges
from app.demo.corpus.languages import phrasebook
from app.demo.corpus.musings import musing
from app.demo.corpus.order import order_exchanges
from app.demo.corpus.smalltalk import small_talk
from app.demo.corpus.stories import story, story_exchange
from app.demo.corpus.sums import drill, sum_exchanges
from app.demo.corpus.tool_talk import tool_chat
from app.demo.corpus.topic import article

__all__ = ["Chat", "Document", "PlainText", "documents"]


def _plain(kind: str, make: Callable[[Dice], str]) -> Callable[[Dice], Document]:
    return lambda dice: PlainText(kind, make(dice))


_MIX: tuple[tuple[float, Callable[[Dice], Document]], ...] = (
    (0.100, about_topics),
    (0.140, conversation),
    (0.030, copying),
    (0.120, of_kind("sums", sum_exchanges)),
    (0.030, _plain("drill", drill)),
    (0.115, of_kind("order", order_exchanges)),
    (0.080, thoughtful),
    (0.090, of_kind("json", json_exchanges)),
    (0.090, lambda dice: tool_chat(dice, small_talk(dice))),
    (0.060, of_kind("code", code_exchanges)),
    (0.025, _plain("code", module)),
    (0.045, _plain("hole", hole)),
    (0.040, of_kind("stories", story_exchange)),
    (0.015, _plain("story", story)),
    (0.010, _plain("article", lambda dice: article(dice, dice.choice(TOPICS)))),
    (0.006, _plain("musing", musing)),
    (0.004, _plain("phrasebook", phrasebook)),
)


def documents(seed: int) -> Iterator[Document]:
    """Documents without end; the same seed gives the same ones."""
    dice = Dice(seed)
    weights, makers = zip(*_MIX, strict=True)
    while True:
        make: Callable[[Dice], Document] = dice.choices(makers, weights)[0]
        yield make(dice)
