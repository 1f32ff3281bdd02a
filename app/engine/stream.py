"""The tokens of one sequence on their way to one reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import inf

from app.messages import FinishReason, Generate, TokenLogprobs

MAX_TOKENS_BEHIND = 8
"""A reader that is no further behind than this still gets one token at a time."""

MAX_TAKEN_TOKENS = 256
"""At once: the rest waits until others have had the event loop."""

WHOLE = (FinishReason.STOP, FinishReason.LENGTH)
"""What may come with tokens. Any other end comes by itself, so that nothing is lost by whom it is an error to."""


@dataclass(slots=True)
class TokenDelta:
    """What a reader gets at once. `logprobs` runs beside `token_ids` where it was asked for."""

    token_ids: list[int]
    logprobs: list[TokenLogprobs]
    finish_reason: FinishReason | None = None


class EngineDied(RuntimeError):
    """The engine process ended and this sequence is not taken up again; the request may be sent again."""

    finish_reason = FinishReason.ENGINE_DIED


class KillsEngine(EngineDied):
    """This sequence is what ended the engine process, each time: the request must not be sent again."""

    finish_reason = FinishReason.KILLS_ENGINE


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


def _nobody() -> None:
    """Reads yet."""


def _unmeasured(stream: TokenStream) -> None:
    """Default of a stream whose end nobody counts."""


class TokenStream:
    """Written by the engine client, and taken from by one reader, whose `wake` is called when there is more to take.

    `on_close` is called if it is ended on this side, for the engine to drop the sequence. `on_read` is called once in
    any case, when the reader is done: only then are its finish reason and its output tokens what the client saw.
    `trace_id` is of the trace that the request belongs to, if it is recorded. Where `merges` is set, a reader gets all
    that there is at once.
    """

    def __init__(
        self,
        seq_id: int,
        num_prompt_tokens: int,
        arrived: float,
        on_close: Callable[[TokenStream], None],
        on_read: Callable[[TokenStream], None] = _unmeasured,
    ) -> None:
        self.seq_id = seq_id
        self.trace_id = ""
        self.num_prompt_tokens = num_prompt_tokens
        self.num_cached_tokens = 0
        self.output_token_ids: list[int] = []
        self.prompt_logprobs: list[TokenLogprobs] = []
        self.times = SequenceTimes(arrived)
        self.finish_reason: FinishReason | None = None
        self.wake: Callable[[], None] = _nobody
        self.num_taken = 0
        self.merges = False
        self._is_read = False
        self._on_close = on_close
        self._on_read = on_read
        self._logprobs: list[TokenLogprobs] = []
        self._end: FinishReason | None = None
        self._error: EngineDied | None = None

    @property
    def num_output_tokens(self) -> int:
        return len(self.output_token_ids)

    @property
    def is_behind(self) -> bool:
        """Whether its reader has not taken all that there is."""
        return self.num_taken < len(self.output_token_ids)

    def take(self) -> Iterator[TokenDelta]:
        """What has come since the last time: tokens one by one, or in one delta if they are to be merged or more than
        `MAX_TOKENS_BEHIND`, and the end; of very many, the first `MAX_TAKEN_TOKENS`. Raises `EngineDied` behind the
        tokens if the sequence was given up.
        """
        token_ids = self.output_token_ids[self.num_taken : self.num_taken + MAX_TAKEN_TOKENS]
        self.num_taken += len(token_ids)
        if self.is_behind:
            logprobs, self._logprobs = self._logprobs[: len(token_ids)], self._logprobs[len(token_ids) :]
            yield TokenDelta(token_ids, logprobs)
            return
        logprobs, self._logprobs = self._logprobs, []
        end, self._end = self._end, None
        if 1 < len(token_ids) <= MAX_TOKENS_BEHIND and not self.merges:
            for place, token_id in enumerate(token_ids[:-1]):
                yield TokenDelta([token_id], logprobs[place : place + 1])
            token_ids, logprobs = token_ids[-1:], logprobs[-1:]
        if token_ids and (end is None or end in WHOLE):
            yield TokenDelta(token_ids, logprobs, end)
        else:
            if token_ids:
                yield TokenDelta(token_ids, logprobs)
            if end is not None:
                yield TokenDelta([], [], end)
        if self._error is not None:
            raise self._error

    def push(self, token_id: int, logprobs: TokenLogprobs | None, now: float) -> None:
        """Append a token that arrived at `now`, in seconds of the monotonic clock. When to `wake` the reader for it is
        for the caller to say.
        """
        self.output_token_ids.append(token_id)
        times = self.times
        if times.first_token is None:
            times.first_token = now
        times.last_token = now
        if logprobs is not None:
            self._logprobs.append(logprobs)

    def taken_up(self, command: Generate) -> Generate:
        """What it was asked for with, as another engine is to go on with it: with the tokens that it has, and without a
        deadline if it was scheduled before. Prompt logprobs are told again where there are no tokens yet.
        """
        if self.times.scheduled is not None:
            command = replace(command, deadline=inf)
        if not self.output_token_ids:
            self.prompt_logprobs.clear()
            return command
        params = replace(command.params, prompt_logprobs=None)
        return replace(command, params=params, output_token_ids=tuple(self.output_token_ids))

    def end(self, reason: FinishReason) -> None:
        """The sequence has ended. As with tokens, when to `wake` the reader is for the caller to say: whoever takes the
        last token must find that it is the last.
        """
        self.finish_reason = self._end = reason

    def finish(self, reason: FinishReason) -> None:
        self.end(reason)
        self.wake()

    def fail(self, error: EngineDied) -> None:
        self.finish_reason = error.finish_reason
        self._error = error
        self.wake()

    def cut(self, reason: FinishReason) -> None:
        """End the sequence now if it has not ended, and let its reader know why."""
        if self.finish_reason is None:
            self.finish(reason)
            self._on_close(self)

    def close_at(self, reason: FinishReason, num_output_tokens: int) -> None:
        """The reader has all it wants: the sequence ended so, with so many tokens, whatever the engine made of it. A
        stop string may end a text that goes on in the engine, or that ended there for its length.
        """
        del self.output_token_ids[num_output_tokens:]
        has_ended, self.finish_reason = self.finish_reason is not None, reason
        self._read_to_its_end(has_ended)

    def close(self, reason: FinishReason = FinishReason.ABORT) -> None:
        """Nothing more is read; ends the sequence now if it has not ended.

        May be called any number of times, from a `finally` and from a background callback alike.
        """
        has_ended, self.finish_reason = self.finish_reason is not None, self.finish_reason or reason
        self._read_to_its_end(has_ended)

    def _read_to_its_end(self, has_ended: bool) -> None:
        if not has_ended:
            self._on_close(self)
        if not self._is_read:
            self._is_read = True
            self._on_read(self)
