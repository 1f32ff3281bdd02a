"""Following one sequence through its grammar, in the engine."""

from __future__ import annotations

from collections.abc import Sequence

from llguidance import LLMatcher

from app.constraints.errors import MatcherError
from app.constraints.tokens import TokenTable


class Matcher:
    """What may follow the output of one sequence. It is a function of the output's tokens and of nothing else.

    `stop_token_ids` end the answer: one of them is allowed where the grammar accepts, and only there. Only one thread
    may use a matcher at a time. Everything raises MatcherError once the grammar has become too complex to follow.
    """

    def __init__(self, matcher: LLMatcher, table: TokenTable, stop_token_ids: Sequence[int]) -> None:
        """Takes over `matcher`, which is at the beginning of its grammar."""
        self.inner = matcher
        self._table = table
        self.stop_token_ids = frozenset(token_id for token_id in stop_token_ids if token_id < table.num_logits)
        self.num_tokens = 0
        self._has_stopped = False

    @property
    def is_accepting(self) -> bool:
        """The output is a whole answer: it may end here."""
        return not self.inner.is_error() and self.inner.is_accepting()

    @property
    def is_done(self) -> bool:
        """Nothing can follow: a stop token was taken, or the grammar is at its end."""
        return self._has_stopped or (self.inner.is_stopped() and not self.inner.is_error())

    def advance(self, token_ids: Sequence[int]) -> None:
        """Take the next tokens of the output: as many as one step gives.

        Raises MatcherError for tokens that are not allowed; then the matcher is of no more use.
        """
        for token_id in token_ids:
            if token_id in self.stop_token_ids and not self._has_stopped and self.inner.is_accepting():
                self._has_stopped = True
            elif self._has_stopped or not self.inner.consume_token(token_id):
                self.raise_error()
                raise MatcherError(f"Token {token_id} does not fit the grammar after {self.num_tokens} tokens.")
            self.num_tokens += 1

    def rebuild(self, token_ids: Sequence[int]) -> None:
        """Take a long output at once. Raises MatcherError as `advance`.

        What the lexer may spend is bounded from one mask to the next, so there are masks in between, as there were.
        """
        for token_id in token_ids:
            self.inner.compute_bitmask()
            self.advance([token_id])

    def rollback(self, num_tokens: int) -> None:
        """Take back the last tokens."""
        if num_tokens == 0:
            return
        self.num_tokens -= num_tokens
        num_text = num_tokens - self._has_stopped
        self._has_stopped = False
        if num_text and not self.inner.rollback(num_text):
            self.raise_error()

    def forced(self) -> list[int]:
        """The tokens that must follow, for as far as there is but one way to go on. Empty mostly."""
        if self.is_done:
            return []
        token_ids = self.inner.compute_ff_tokens()
        self.raise_error()
        return token_ids

    def verify(self, draft_token_ids: Sequence[int]) -> int:
        """How many tokens of a draft are allowed, one after the other. The matcher stays where it is."""
        if self._has_stopped:
            return 0
        num_text = next((i for i, t in enumerate(draft_token_ids) if t in self.stop_token_ids), len(draft_token_ids))
        num_allowed = self.inner.validate_tokens(list(draft_token_ids[:num_text])) if num_text else 0
        self.raise_error()
        return num_allowed

    def raise_error(self) -> None:
        """Raises MatcherError if the grammar cannot be followed any further."""
        if self.inner.is_error():
            raise MatcherError(f"The grammar cannot be followed: {self.inner.get_error().split(chr(10))[0]}.")
