"""Token ids → text that is safe to show: no incomplete character, and no part of a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.text.stops import StopMatcher

if TYPE_CHECKING:
    from app.text.tokenizer import Tokenizer


class IncrementalDetokenizer:
    """The text of one stream. The results of all pushes and of the flush, joined, equal decoding the whole output.

    With a prompt they are what the output adds to the prompt's text; a character that the prompt begins and the output
    completes is shown whole. Each token is processed once, however the tokens are divided into pushes.

    A stop string ends the text: the one that is complete first and, of several that complete at the same character, the
    longest. No part of it is ever shown (all of it with `include_stop`), and no token that begins at the cut or later
    is released; a token without text (a skipped special token) belongs to the text before it. After that `stopped` is
    true, `stop_string` is set, and further tokens are ignored.

    An instance may only be used on the event loop's thread. Instances share nothing but the tokenizer.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop: Sequence[str] = (),
        skip_special_tokens: bool = True,
        include_stop: bool = False,
        prompt_token_ids: Sequence[int] = (),
        kept_token_ids: frozenset[int] = frozenset(),
    ) -> None:
        """`kept_token_ids` are shown even if special tokens are skipped. Raises ValueError for an empty stop string."""
        self._assembly = tokenizer.begin_text(
            prompt_token_ids, skip_special_tokens=skip_special_tokens, kept_token_ids=kept_token_ids
        )
        self._matcher = StopMatcher(stop) if stop else None
        self._include_stop = include_stop
        self._num_shown = 0  # characters
        self._num_released = 0  # tokens
        self.stop_string: str | None = None

    @property
    def stopped(self) -> bool:
        return self.stop_string is not None

    @property
    def num_output_tokens(self) -> int:
        """Number of tokens pushed so far; after a stop, up to and including the one that completed the stop string."""
        return self._assembly.num_tokens

    @property
    def token_offsets(self) -> Sequence[int]:
        """For each output token, the offset in the output text of the character in which it begins.

        Every released token has one; tokens of a character that is still incomplete may not have theirs yet.
        """
        return self._assembly.starts

    def push(self, token_ids: Sequence[int]) -> str:
        """Add the next output tokens. Returns the text that may be shown now."""
        if self.stop_string is not None:
            return ""
        add = self._assembly.add
        if self._matcher is None:
            text = add(token_ids[0]) if len(token_ids) == 1 else "".join([add(token_id) for token_id in token_ids])
            self._num_shown += len(text)
            return text
        safe = []
        for token_id in token_ids:
            if text := add(token_id):
                safe.append(self._match(self._matcher, text))
                if self.stop_string is not None:
                    break
        return "".join(safe)

    def flush(self) -> str:
        """End the output. Returns everything that was still held back; a second flush returns an empty string."""
        if self.stop_string is not None:
            return ""
        text = self._assembly.finish()
        if self._matcher is None:
            self._num_shown += len(text)
            return text
        text = self._match(self._matcher, text)
        if self.stop_string is None:
            held = self._matcher.release()
            self._num_shown += len(held)
            text += held
        return text

    def release(self) -> int:
        """How many further tokens are now completely shown, or begin before the cut: their logprobs may be shown."""
        starts, ends, shown = self._assembly.starts, self._assembly.ends, self._num_shown
        released = count = self._num_released
        while count < len(ends) and ends[count] <= shown:
            count += 1
        if self.stop_string is not None:
            while count < len(starts) and starts[count] < shown:
                count += 1
        self._num_released = count
        return count - released

    def _match(self, matcher: StopMatcher, text: str) -> str:
        """Add settled text. Returns what may be shown now; if a stop string is complete, ends the output there."""
        safe = matcher.feed(text)
        self._num_shown += len(safe)
        if (stop := matcher.matched) is None:
            return safe
        self.stop_string = stop
        self._assembly.truncate(self._num_shown + len(stop))
        if not self._include_stop:
            return safe
        self._num_shown += len(stop)
        return safe + stop
