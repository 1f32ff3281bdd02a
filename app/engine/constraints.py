"""The sequences whose output is constrained: their grammars are compiled beside the steps, and followed by matchers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from collections.abc import Sequence as Seq
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property, partial
from weakref import WeakKeyDictionary

from app.constraints.errors import MatcherError
from app.constraints.grammars import Grammar, Grammars
from app.constraints.masks import MaskFiller
from app.constraints.matcher import Matcher
from app.constraints.tokens import TokenTable
from app.messages import Constraint
from app.scheduler.sequence import Sequence

logger = logging.getLogger("millrace.engine")


def no_table(_num_logits: int = 0) -> TokenTable:
    """The table of a model that has none, whose constrained sequences end with an error."""
    raise RuntimeError("the engine has no tokenizer")


class Guide:
    """Follows one sequence through its grammar. Only one thread may use it at a time."""

    def __init__(self, matcher: Matcher, on_error: Callable[[], None]) -> None:
        """`on_error` is called when the grammar cannot be followed any further."""
        self.matcher = matcher
        self._on_error = on_error

    def catch_up(self, sequence: Sequence, unknown: tuple[int, ...] = ()) -> None:
        """Take what the matcher has not seen of the output, and behind it the tokens that the host does not know yet.

        Raises MatcherError.
        """
        begin = sequence.num_prompt_tokens + self.matcher.num_tokens
        self.matcher.advance([*sequence.token_ids[begin:], *unknown])

    def forced(self, sequence: Sequence) -> list[int]:
        """The tokens that must follow. None after an error, which the sequence's next mask finds again."""
        try:
            self.catch_up(sequence)
            return self.matcher.forced()
        except MatcherError:
            return []

    def num_allowed(self, sequence: Sequence, draft: Seq[int]) -> int:
        """How many tokens of a draft may follow, one after the other."""
        try:
            self.catch_up(sequence)
            return self.matcher.verify(draft)
        except MatcherError:
            return 0

    def give_up(self, seq_id: int, error: MatcherError) -> None:
        """Log the error that ends the sequence, and never use the grammar again: others would share its lexer."""
        logger.error("sequence %d ends with an error: %s", seq_id, error)
        self._on_error()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sequence whose grammar is compiled; without a `guide`, this has failed."""

    sequence: Sequence
    guide: Guide | None


class Constraints:
    """Prepares constrained sequences, and has the guides of those that live.

    `make_table` is called at the first constraint, in the thread that compiles: the table of a large vocabulary takes
    seconds. `on_prepared` is called there too, or at once, for each sequence that is not dropped before.
    """

    def __init__(self, make_table: Callable[[], TokenTable] = no_table) -> None:
        self.guides: WeakKeyDictionary[Sequence, Guide] = WeakKeyDictionary()
        self.on_prepared: Callable[[Prepared], None]
        self._make_table = make_table
        self._awaited: dict[int, Sequence] = {}

    @cached_property
    def _grammars(self) -> Grammars:
        return Grammars(self._make_table)

    @property
    def table(self) -> TokenTable:
        """To be asked for only while there are guides."""
        return self._grammars.table

    @cached_property
    def filler(self) -> MaskFiller:
        return MaskFiller(self.table)

    def prepare(self, sequence: Sequence, constraint: Constraint) -> None:
        self._awaited[sequence.seq_id] = sequence
        compiling = self._grammars.get(sequence.owner, constraint)
        # A future keeps its callbacks for as long as it lives, so this one must not hold the sequence.
        compiling.add_done_callback(partial(self._begin, sequence.seq_id, constraint))

    def drop(self, seq_id: int) -> None:
        """A sequence has been aborted: it is not awaited any more, if it was."""
        self._awaited.pop(seq_id, None)

    def accept(self, prepared: Prepared) -> bool:
        """Whether the sequence is still wanted; if so, it has its guide from now on."""
        sequence = prepared.sequence
        if self._awaited.pop(sequence.seq_id, None) is None:
            return False
        if prepared.guide is not None:
            self.guides[sequence] = prepared.guide
        return True

    def _begin(self, seq_id: int, constraint: Constraint, compiling: Future[Grammar]) -> None:
        sequence = self._awaited.get(seq_id)
        if sequence is None:
            return
        forget = partial(self._grammars.forget, sequence.owner, constraint)
        guide = None
        try:
            matcher = compiling.result().matcher(tuple(sequence.params.stop_token_ids))
            matcher.rebuild(sequence.token_ids[sequence.num_prompt_tokens :])  # the output of an engine that died
            guide = Guide(matcher, forget)
        except Exception as error:  # whatever it is, the sequence must not wait for ever
            logger.error("sequence %d ends with an error: its constraint cannot be used: %s", seq_id, error)
        self.on_prepared(Prepared(sequence, guide))
