"""The training text: right in what it says, and without anything that the exams ask for."""

import re
from collections.abc import Iterator
from itertools import islice

import pytest

from app.demo.corpus import Chat, Document, documents
from app.demo.corpus.dice import held_out
from app.demo.corpus.sums import key
from app.demo.corpus.worked import is_table

_EQUATION = re.compile(r"(-?\d+(?: [-+*] \d+)+) = (-?\d+)")
_PAIR = re.compile(r"(?<![-+*/] )\b(\d+) ([-+*]) (\d+)\b(?! [-+*/] \d)")


def texts(document: Document) -> Iterator[str]:
    if isinstance(document, Chat):
        yield from (message["content"] for message in document.messages)
    else:
        yield document.text


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    """Texts from the start, where most is copying, and from later on."""
    return [text for document in islice(documents(4), 9000) for text in texts(document)]


def test_the_same_seed_gives_the_same_documents_and_another_seed_gives_others() -> None:
    first = list(islice(documents(1), 50))
    assert list(islice(documents(1), 50)) == first
    assert list(islice(documents(2), 50)) != first


def test_every_sum_is_right(corpus: list[str]) -> None:
    found = [match for text in corpus for match in _EQUATION.finditer(text)]
    assert len(found) > 5000
    for match in found:
        assert eval(match[1]) == int(match[2]), match[0]


def test_no_pair_of_numbers_is_held_out(corpus: list[str]) -> None:
    found = [match for text in corpus for match in _PAIR.finditer(text)]
    assert len(found) > 5000
    for match in found:
        left, sign, right = int(match[1]), match[2], int(match[3])
        table = is_table(left, sign, right) or is_table(right, sign, left)
        assert table or not held_out(*key(left, sign, right)), match[0]
