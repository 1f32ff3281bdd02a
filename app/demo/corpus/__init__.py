"""A seeded, endless stream of training text, all of it made by the grammars and simulators of this package."""

from collections.abc import Callable, Iterator
from itertools import count

from app.demo.corpus.code import module
from app.demo.corpus.conversation import TOPICS, conversation, copying
from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Chat, Document, PlainText
from app.demo.corpus.languages import phrasebook
from app.demo.corpus.musings import musing
from app.demo.corpus.stories import story
from app.demo.corpus.sums import drill
from app.demo.corpus.topic import article

__all__ = ["Chat", "Document", "PlainText", "documents"]


def _article(dice: Dice) -> str:
    return article(dice, dice.choice(TOPICS))


_CHAT_SHARE = 0.66
# Early on most of the text is words to repeat: copying is best learned before anything is known by heart.
_COPYING_DOCUMENTS = 3000
_PLAIN: tuple[tuple[float, str, Callable[[Dice], str]], ...] = (
    (0.36, "story", story),
    (0.20, "article", _article),
    (0.20, "sums", drill),
    (0.08, "musing", musing),
    (0.12, "code", module),
    (0.04, "phrasebook", phrasebook),
)


def documents(seed: int) -> Iterator[Document]:
    """Documents without end; the same seed gives the same ones."""
    dice = Dice(seed)
    weights = [share for share, _, _ in _PLAIN]
    for at in count():
        if at < _COPYING_DOCUMENTS and dice.random() < 0.6:
            yield copying(dice)
        elif dice.random() < _CHAT_SHARE:
            yield conversation(dice)
        else:
            _, kind, make = dice.choices(_PLAIN, weights)[0]
            yield PlainText(kind, make(dice))
