"""From prompts to pieces of text: the sequences of one request, begun, merged, counted and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from math import inf

from app.api.admission import SEED_BITS, Prompt
from app.api.errors import ended_with
from app.api.owner import Owner
from app.api.schemas.sampling import SamplingFields
from app.api.service import Engine
from app.engine.stream import TokenDelta, TokenStream
from app.messages import FinishReason, SamplingParams, TokenLogprobs
from app.text.chat_format import CallArguments, CallBegins, Reasoning
from app.text.detokenizer import IncrementalDetokenizer
from app.text.tokenizer import Tokenizer

MOST_SCORED_AT_ONCE = 256
"""Tokens with logprobs, until others have the event loop: with alternatives each takes tens of microseconds."""

SEED_STRIDE = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token with its logprob and its place in the text; the first token of a prompt has no logprob."""

    token_id: int
    offset: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True)
class Piece:
    """What became known of one choice at once: text, the scored tokens it is made of, perhaps the end.

    `part` is what the text was read as, if it is not content: then `text` is empty.
    """

    index: int
    text: str
    tokens: list[ScoredToken] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    part: Reasoning | CallBegins | CallArguments | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a whole request. A prompt counts once, however many choices share it."""

    num_prompt_tokens: int
    num_cached_tokens: int
    num_output_tokens: int

    def as_json(self) -> dict[str, object]:
        return {
            "prompt_tokens": self.num_prompt_tokens,
            "completion_tokens": self.num_output_tokens,
            "total_tokens": self.num_prompt_tokens + self.num_output_tokens,
            "prompt_tokens_details": {"cached_tokens": self.num_cached_tokens},
        }


class Choice:
    """One sequence on its way to text. Logprobs wait here until the text of their tokens is released."""

    def __init__(
        self, index: int, prompt: Prompt, stream: TokenStream, body: SamplingFields, tokenizer: Tokenizer
    ) -> None:
        self.index = index
        self.prompt = prompt
        self.stream = stream
        self.num_tokens = 0
        self.finished = False
        self._is_scored = body.num_logprobs is not None
        self._shows_stop_token = body.include_stop_str_in_output
        self._held: list[TokenLogprobs] = []
        self._num_released = 0
        self._echo = self._echoed()
        self._echoes = prompt.echo is not None
        self._offset = len(prompt.echo.text) if prompt.echo is not None else 0
        self._detokenizer = IncrementalDetokenizer(
            tokenizer,
            stop=tuple(body.stop),
            skip_special_tokens=body.skip_special_tokens,
            include_stop=body.include_stop_str_in_output,
            prompt_token_ids=prompt.token_ids,
        )

    def advance(self, delta: TokenDelta) -> Piece:
        """The next piece. Here it is decided how the sequence ended, and with how many tokens: a stop string ends it
        whatever the engine has made since.
        """
        reason = delta.finish_reason
        if reason is not None and (error := ended_with(reason)):
            raise error
        text, tokens = "", list[ScoredToken]()
        if self.prompt.max_tokens > 0:
            text += self._release(delta, tokens)
            if self._detokenizer.stop_string is not None:
                reason = FinishReason.STOP
        elif reason is not None:
            reason = FinishReason.LENGTH
        if reason is not None:
            self.finished = True
            self.stream.close_at(reason, self.num_tokens)
        return Piece(self.index, text, tokens, reason)

    @property
    def is_behind(self) -> bool:
        """Whether there is more to be had at once than was taken."""
        return self.stream.is_behind or (self._echoes and self.stream.num_output_tokens > 0)

    def pieces(self) -> Iterator[Piece]:
        """What has come since the last time, first of all the prompt if it is sent back; of very much the beginning."""
        if self._echoes and self.stream.num_output_tokens:
            if echoed := next(self._echo, None):
                yield echoed
                return
            self._echoes = False
        for delta in self.stream.take():
            yield self.advance(delta)
            if self.finished:
                return

    def _echoed(self) -> Iterator[Piece]:
        echo, token_ids = self.prompt.echo, self.prompt.token_ids
        assert echo is not None
        if not self._is_scored:
            yield Piece(self.index, echo.text)
            return
        rest = map(_scored, self.stream.prompt_logprobs, echo.offsets[1:])
        tokens = chain([ScoredToken(token_ids[0], 0)], rest)
        for start in range(0, len(token_ids), MOST_SCORED_AT_ONCE):
            end = start + MOST_SCORED_AT_ONCE
            until = echo.offsets[end] if end < len(token_ids) else None
            yield Piece(self.index, echo.text[echo.offsets[start] : until], [*islice(tokens, MOST_SCORED_AT_ONCE)])

    def _release(self, delta: TokenDelta, tokens: list[ScoredToken]) -> str:
        """The text that is safe to show; adds its tokens to `tokens`. A stop token counts, but shows only if asked."""
        detokenizer, reason = self._detokenizer, delta.finish_reason
        hidden = reason is FinishReason.STOP and not self._shows_stop_token
        text = detokenizer.push(delta.token_ids[:-1] if hidden else delta.token_ids)
        if reason is not None and detokenizer.stop_string is None:
            text += detokenizer.flush()
        if detokenizer.stop_string is not None:
            self.num_tokens = detokenizer.num_output_tokens
        else:
            self.num_tokens += len(delta.token_ids)
        if self._is_scored:
            num_tokens = detokenizer.release()
            self._held += delta.logprobs
            offsets = detokenizer.token_offsets[self._num_released : self._num_released + num_tokens]
            tokens += (_scored(held, self._offset + at) for held, at in zip(self._held, offsets, strict=False))
            del self._held[:num_tokens]
            self._num_released += num_tokens
        return text


def _scored(token: TokenLogprobs, offset: int) -> ScoredToken:
    return ScoredToken(token.token_id, offset, token.logprob, token.top)


class Generation:
    """All sequences of one request: `n` choices of each prompt, in that order. Either all begin or none.

    `news` is set when there may be more pieces, until they are asked for, unless something else is to be called.
    """

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, prompts: list[Prompt], body: SamplingFields, owner: Owner
    ) -> None:
        self.streams: list[TokenStream] = []
        self._end: asyncio.TimerHandle | None = None
        wanted = [(prompt, number) for prompt in prompts for number in range(body.n)]
        engine.check_room(len(wanted), owner.name)
        try:
            for prompt, number in wanted:
                params = _params(prompt, number, body, tokenizer)
                stream = engine.generate(
                    prompt.token_ids,
                    params,
                    body.priority,
                    owner.cache_salt(body.cache_salt),
                    owner.name,
                    owner.precedence(body.priority),
                )
                self.streams.append(stream)
            self.choices = [
                Choice(index, prompt, stream, body, tokenizer)
                for index, ((prompt, _), stream) in enumerate(zip(wanted, self.streams, strict=True))
            ]
        except BaseException:  # whatever it was: none begins without the others
            self.close()
            raise
        self._first_choices = self.choices[:: body.n]
        self._unfinished = list(self.choices)
        self.news = asyncio.Event()
        self.call(self.news.set)
        self.news.set()  # for what was there before

    def call(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when there may be more pieces, instead of what was called before: first `news.set`."""
        self._wake = wake
        for stream in self.streams:
            stream.wake = wake

    def end_by(self, moment: float) -> None:
        """Cut off what has not ended at this moment of the event loop's clock."""
        if moment < inf:
            self._end = asyncio.get_running_loop().call_at(moment, self._cut)

    def pieces(self) -> Iterator[Piece]:
        """What the choices have given since the last time. Raises what ended one of them, behind its last piece.

        Of very much only a part comes at once; the rest, when the event loop has turned to others.
        """
        self.news.clear()
        num_scored = 0
        for choice in tuple(self._unfinished):
            for piece in choice.pieces():
                num_scored += len(piece.tokens)
                yield piece
            if choice.finished:
                self._unfinished.remove(choice)
            elif choice.is_behind or num_scored > MOST_SCORED_AT_ONCE:
                asyncio.get_running_loop().call_soon(self._wake)
                return

    @property
    def is_finished(self) -> bool:
        """Whether its choices give nothing more."""
        return not self._unfinished

    @property
    def is_over(self) -> bool:
        """Whether every sequence has come to an end."""
        return all(stream.finish_reason is not None for stream in self.streams)

    def usage(self) -> Usage:
        return Usage(
            num_prompt_tokens=sum(len(choice.prompt.token_ids) for choice in self._first_choices),
            num_cached_tokens=sum(choice.stream.num_cached_tokens for choice in self._first_choices),
            num_output_tokens=sum(choice.num_tokens for choice in self.choices),
        )

    def _cut(self) -> None:
        for stream in self.streams:
            stream.cut(FinishReason.REQUEST_TIMEOUT)

    def close(self, reason: FinishReason = FinishReason.ABORT) -> None:
        """End what has not ended. May be called any number of times."""
        if self._end is not None:
            self._end.cancel()
        for stream in self.streams:
            stream.close(reason)


def _params(prompt: Prompt, number: int, body: SamplingFields, tokenizer: Tokenizer) -> SamplingParams:
    """Choice 0 has the prompt's seed, the others seeds derived from it, all of them different."""
    seed = (prompt.seed + number * SEED_STRIDE) % 2**SEED_BITS
    body = body.with_defaults(tokenizer.sampling_defaults)
    return body.sampling_params(max(prompt.max_tokens, 1), seed, prompt.stop_token_ids)
