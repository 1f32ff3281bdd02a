"""The stream of one sequence's tokens from the engine client to one reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf

from app.messages import FinishReason, Generate, TokenLogprobs

MAX_TOKENS_BEHIND = 8
"""A reader that has at most this many tokens left to take still gets them one by one."""

MAX_TAKEN_TOKENS = 256
"""Most tokens that one `take` returns; the rest waits until other tasks have had a turn on the event loop."""


class CutReason(StrEnum):
    """Why a sequence ended that its engine did not end: only the API process knows these."""

    ENGINE_DIED = "engine_died"
    KILLS_ENGINE = "kills_engine"
    CLIENT_GONE = "client_gone"
    CLIENT_STALLED = "client_stalled"
    REQUEST_TIMEOUT = "request_timeout"


EndReason = FinishReason | CutReason

WHOLE = (FinishReason.STOP, FinishReason.LENGTH)
"""Finish reasons that are delivered along with the last tokens. Others are delivered on their own, after them: a reader
that raises on them has already received everything."""

UNKNOWN_TO_ENGINE = (
    FinishReason.ABORT,
    CutReason.CLIENT_GONE,
    CutReason.CLIENT_STALLED,
    CutReason.REQUEST_TIMEOUT,
)
"""Reasons for which this side ends a sequence that the engine would continue: it must be asked to drop it."""


@dataclass(slots=True)
class TokenDelta:
    """What a reader receives at once. `logprobs` has one item per token if they were requested, else none."""

    token_ids: list[int]
    logprobs: list[TokenLogprobs]
    finish_reason: EndReason | None = None


class EngineDied(RuntimeError):
    """The engine process ended and no other takes this sequence up; the client may repeat the request."""

    finish_reason = CutReason.ENGINE_DIED


class KillsEngine(EngineDied):
    """This sequence crashed the engine process every time: the client must not repeat the request."""

    finish_reason = CutReason.KILLS_ENGINE


@dataclass(slots=True)
class SequenceTimes:
    """When things happened, in seconds of the monotonic clock, which both processes share; None until they do.

    `preempted` has an item for each preemption.
    """

    arrived: float
    scheduled: float | None = None
    first_token: float | None = None
    last_token: float | None = None
    finished: float | None = None
    preempted: list[float] = field(default_factory=list)


def _no_reader() -> None:
    """Default wake callback: no reader is attached yet."""


def _no_observer(stream: TokenStream) -> None:
    """Default `on_read` callback: nobody observes the stream."""


class TokenStream:
    """Filled by the engine client and read by one reader, whose `wake` callback is called when there is more to take.

    `on_close` is called if the stream is ended on this side, so that the engine drops the sequence. `on_read` is called
    exactly once, when the reader is done: only then are the finish reason and the output tokens what the client saw.
    `trace_id` names the trace that the request belongs to, if it is sampled. If `merges` is set, the reader gets all
    available tokens in one delta.
    """

    def __init__(
        self,
        seq_id: int,
        num_prompt_tokens: int,
        arrived: float,
        on_close: Callable[[TokenStream], None],
        on_read: Callable[[TokenStream], None] = _no_observer,
    ) -> None:
        self.seq_id = seq_id
        self.trace_id = ""
        self.num_prompt_tokens = num_prompt_tokens
        self.num_cached_tokens = 0
        self.output_token_ids: list[int] = []
        self.prompt_logprobs: list[TokenLogprobs] = []
        self.times = SequenceTimes(arrived)
        self.finish_reason: EndReason | None = None
        self.wake: Callable[[], None] = _no_reader
        self.num_taken = 0
        self.merges = False
        self._is_read = False
        self._on_close = on_close
        self._on_read = on_read
        self._logprobs: list[TokenLogprobs] = []
        self._end: EndReason | None = None
        self._error: EngineDied | None = None

    @property
    def num_output_tokens(self) -> int:
        return len(self.output_token_ids)

    @property
    def is_behind(self) -> bool:
        """Whether there are tokens that its reader has not taken yet."""
        return self.num_taken < len(self.output_token_ids)

    def take(self) -> Iterator[TokenDelta]:
        """Yield what has arrived since the last call, and the finish reason if the sequence has ended.

        Tokens come one by one, or in a single delta if `merges` is set or there are more than `MAX_TOKENS_BEHIND`; at
        most `MAX_TAKEN_TOKENS` come at once. Raises `EngineDied` after the tokens if the sequence was given up.
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
        """Append a token that arrived at `now` (seconds, monotonic clock). The caller wakes the reader later."""
        self.output_token_ids.append(token_id)
        times = self.times
        if times.first_token is None:
            times.first_token = now
        times.last_token = now
        if logprobs is not None:
            self._logprobs.append(logprobs)

    def resume_command(self, command: Generate) -> Generate:
        """The sequence's original command, changed so that another engine continues where the last one stopped.

        It carries the tokens so far, and no deadline if the sequence had been scheduled. Prompt logprobs are reported
        again only if there are no tokens yet.
        """
        if self.times.scheduled is not None:
            command = replace(command, deadline=inf)
        if not self.output_token_ids:
            self.prompt_logprobs.clear()
            return command
        params = replace(command.params, prompt_logprobs=None)
        return replace(command, params=params, output_token_ids=tuple(self.output_token_ids))

    def end(self, reason: EndReason, error: EngineDied | None = None) -> None:
        """End the sequence for `reason`, unless it has ended already. `take` reports it after the tokens, by raising
        `error` if there is one.

        As with tokens, the caller decides when to wake the reader: whoever takes the last token must be able to see
        that it is the last, and one reader may read several sequences.
        """
        if self.finish_reason is not None:
            return
        self.finish_reason, self._error = reason, error
        self._end = reason if error is None else None
        if reason in UNKNOWN_TO_ENGINE:
            self._on_close(self)

    def close(self, reason: EndReason = FinishReason.ABORT, num_output_tokens: int | None = None) -> None:
        """The reader is done. That ends the sequence for `reason`, unless it has ended already.

        With `num_output_tokens` it is the reader who decides how the sequence ended, and with how many tokens, whatever
        the engine says: a stop string ends a text that the engine would continue, or that the engine ended because of
        its length.

        May be called any number of times, for instance from a `finally` and from a background callback.
        """
        has_ended = self.finish_reason is not None
        if num_output_tokens is not None:
            del self.output_token_ids[num_output_tokens:]
            self.finish_reason = reason
        self.finish_reason = self.finish_reason or reason
        if not has_ended:
            self._on_close(self)
        if not self._is_read:
            self._is_read = True
            self._on_read(self)
