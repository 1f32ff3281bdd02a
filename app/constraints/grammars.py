"""Compiled grammars of the engine: built in a thread beside its steps, and kept for who asks again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from app.constraints.build import build
from app.constraints.errors import ConstraintError
from app.constraints.matcher import Matcher
from app.constraints.tokens import TokenTable
from app.messages import Constraint

MAX_GRAMMARS = 128
MAX_CHARS = 4 * 1024 * 1024
"""Of all grammars that are kept. One of a few kB takes some hundreds of kB with its lexer."""


class Grammar:
    """A compiled grammar. Its matchers share the states of its lexer, which grow as they are used."""

    def __init__(self, constraint: Constraint, table: TokenTable) -> None:
        """Raises ConstraintError, which `check` has raised before unless the tokens make the difference."""
        self._table = table
        self._fresh = build(table.tokenizer, constraint.text)
        if self._fresh.is_error():
            raise ConstraintError(self._fresh.get_error().split("\n")[0])

    def matcher(self, stop_token_ids: Sequence[int]) -> Matcher:
        """A matcher at the beginning of the grammar."""
        return Matcher(self._fresh.deep_copy(), self._table, stop_token_ids)


class Grammars:
    """The grammars that were used last, each known only to the owner whose request brought it.

    Used by one thread. `make_table` is called once, in the thread that compiles, before the first grammar.
    """

    def __init__(self, make_table: Callable[[], TokenTable]) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="grammars")
        self._table = self._thread.submit(make_table)
        self._kept: OrderedDict[tuple[str, str], Future[Grammar]] = OrderedDict()

    @property
    def table(self) -> TokenTable:
        """Waits until it is made."""
        return self._table.result()

    def get(self, owner: str, constraint: Constraint) -> Future[Grammar]:
        """The grammar of a constraint of the kind COMPILED, which may still be under way."""
        key = (owner, constraint.text)
        future = self._kept.pop(key, None) or self._thread.submit(self._compile, constraint)
        self._kept[key] = future
        while len(self._kept) > 1 and (len(self._kept) > MAX_GRAMMARS or self._num_chars() > MAX_CHARS):
            self._kept.popitem(last=False)
        return future

    def matcher(
        self, owner: str, constraint: Constraint, stop_token_ids: Sequence[int], output_token_ids: Sequence[int] = ()
    ) -> Future[Matcher]:
        """A matcher of the grammar, behind what an engine before this one has given out."""
        grammar = self.get(owner, constraint)
        return self._thread.submit(_matcher, grammar, stop_token_ids, output_token_ids)

    def forget(self, owner: str, constraint: Constraint) -> None:
        """Do not give this grammar out again: a matcher of it has failed, and others share its lexer."""
        self._kept.pop((owner, constraint.text), None)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _compile(self, constraint: Constraint) -> Grammar:
        return Grammar(constraint, self._table.result())

    def _num_chars(self) -> int:
        return sum(len(text) for _, text in self._kept)


def _matcher(grammar: Future[Grammar], stop_token_ids: Sequence[int], output_token_ids: Sequence[int]) -> Matcher:
    matcher = grammar.result().matcher(stop_token_ids)
    matcher.rebuild(output_token_ids)
    return matcher
