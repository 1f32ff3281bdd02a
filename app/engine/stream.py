"""The tokens of one sequence on their way to one reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from app.messages import FinishReason, TokenLogprobs

MOST_TOKENS_BEHIND = 8
"""A reader that is no further behind than this still gets one token at a time."""

WHOLE = (None, FinishReason.STOP, FinishReason.LENGTH)
"""What may come with tokens. Any other end comes by itself, so that nothing is lost by whom it is an error to."""


@dataclass(slots=True)
class TokenDelta:
    """What a reader gets at once. `logprobs` runs beside `token_ids` where it was asked for."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finish_reason: FinishReason | None = None


class EngineDied(RuntimeError):
    """The engine process ended and this sequence is not taken up again; the request may be sent again."""


@dataclass(slots=True)
class SequenceTimes:
    """Moments in seconds of the monotonic clock, which both processes share; None until they come.

    `preempted` has one for each time that the sequence gave its blocks back.
    """

    arrived: float
    scheduled: float | None = None
    first_token: float | None = None
    last_token: float | None = None
    finished: float | None = None
    preempted: list[float] = field(default_factory=list)


class TokenStream:
    """An async iterator of `TokenDelta`, written by the engine client and read by one request.

    A reader gets its tokens one by one, also those that came before it was there; one that lags by more than
    `MOST_TOKENS_BEHIND` gets all that it missed in one delta. Iteration ends after the delta that carries a finish
    reason, and raises `EngineDied` if the sequence is given up before that. `trace_id` is of the trace that the request
    belongs to, if it is recorded.
    """

    def __init__(
        self, seq_id: int, num_prompt_tokens: int, arrived: float, on_close: Callable[[TokenStream], None]
    ) -> None:
        self.seq_id = seq_id
        self.trace_id = ""
        self.num_prompt_tokens = num_prompt_tokens
        self.num_cached_tokens = 0
        self.output_token_ids: list[int] = []
        self.prompt_logprobs: list[TokenLogprobs] = []
        self.times = SequenceTimes(arrived)
        self.finish_reason: FinishReason | None = None
        self._on_close = on_close
        self._pending = TokenDelta()
        self._error: EngineDied | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._exhausted = False

    def __aiter__(self) -> TokenStream:
        return self

    async def __anext__(self) -> TokenDelta:
        if self._exhausted:
            raise StopAsyncIteration
        if not self.is_ahead:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        if self._error is not None and not self._pending.token_ids:
            raise self._error
        return self._take()

    @property
    def num_output_tokens(self) -> int:
        return len(self.output_token_ids)

    @property
    def is_ahead(self) -> bool:
        """Whether the reader would not have to wait."""
        pending = self._pending
        return bool(pending.token_ids) or pending.finish_reason is not None or self._error is not None

    def _take(self) -> TokenDelta:
        """What the reader gets now."""
        pending = self._pending
        if 1 < len(pending.token_ids) <= MOST_TOKENS_BEHIND:
            logprobs, pending.logprobs = pending.logprobs[:1], pending.logprobs[1:]
            return TokenDelta([pending.token_ids.pop(0)], logprobs)
        self._pending = TokenDelta()
        if pending.token_ids and pending.finish_reason not in WHOLE:
            self._pending.finish_reason, pending.finish_reason = pending.finish_reason, None
        self._exhausted = pending.finish_reason is not None
        return pending

    def push(self, token_id: int, logprobs: TokenLogprobs | None, now: float) -> None:
        """Append a token that arrived at `now`, in seconds of the monotonic clock."""
        self.output_token_ids.append(token_id)
        times = self.times
        if times.first_token is None:
            times.first_token = now
        times.last_token = now
        self._pending.token_ids.append(token_id)
        if logprobs is not None:
            self._pending.logprobs.append(logprobs)
        self._wake()

    def finish(self, reason: FinishReason) -> None:
        self.finish_reason = self._pending.finish_reason = reason
        self._wake()

    def fail(self, error: EngineDied) -> None:
        self.finish_reason = FinishReason.ENGINE_DIED
        self._error = error
        self._wake()

    def cut(self, reason: FinishReason) -> None:
        """End the sequence now if it has not ended, and let its reader know why."""
        if self.finish_reason is None:
            self.finish(reason)
            self._on_close(self)

    def close(self, reason: FinishReason = FinishReason.ABORT) -> None:
        """End the sequence now if it has not ended: `STOP` when its reader has all it wants.

        May be called any number of times, from a `finally` and from a background callback alike.
        """
        if self.finish_reason is None:
            self.finish_reason = reason
            self._on_close(self)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
