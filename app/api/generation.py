"""From prompts to pieces of text: the sequences of one request, begun, merged, counted and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from app.api.admission import SEED_BITS, Prompt
from app.api.errors import ApiError
from app.api.schemas.sampling import SamplingFields
from app.api.service import Engine
from app.engine.stream import TokenDelta, TokenStream
from app.messages import FinishReason, SamplingParams, TokenLogprobs
from app.text.detokenizer import IncrementalDetokenizer
from app.text.tokenizer import Tokenizer

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
    """What became known of one choice at once: text, the scored tokens it is made of, perhaps the end."""

    index: int
    text: str
    tokens: list[ScoredToken] = field(default_factory=list)
    finish_reason: FinishReason | None = None


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
        self._opened = False
        self._offset = len(prompt.echo.text) if prompt.echo is not None else 0
        self._detokenizer = IncrementalDetokenizer(
            tokenizer,
            stop=tuple(body.stop),
            skip_special_tokens=body.skip_special_tokens,
            include_stop=body.include_stop_str_in_output,
            prompt_token_ids=prompt.token_ids,
        )

    def advance(self, delta: TokenDelta) -> Piece:
        """The next piece. A stop string ends the sequence here, whatever the engine has made since."""
        reason = delta.finish_reason
        if reason is FinishReason.ABORT:
            raise ApiError(503, "The server stopped before the end.", type="server_error", code="aborted")
        if reason is FinishReason.ERROR:
            raise ApiError(500, "The engine could not finish this sequence.", type="server_error", code="engine_error")
        piece = self._open()
        if self.prompt.max_tokens > 0:
            self._release(delta, piece)
            if self._detokenizer.stopped:
                reason = FinishReason.STOP
                self.stream.close(reason)
        elif reason is not None:
            reason = FinishReason.LENGTH
        piece.finish_reason = reason
        self.finished = reason is not None
        return piece

    def _open(self) -> Piece:
        """A piece with the echo of the prompt, if it is wanted and this is the first."""
        piece = Piece(self.index, "")
        if self.prompt.echo is None or self._opened:
            return piece
        self._opened = True
        piece.text = self.prompt.echo.text
        if self._is_scored:
            piece.tokens = [ScoredToken(self.prompt.token_ids[0], 0)]
            piece.tokens += map(_scored, self.stream.prompt_logprobs, self.prompt.echo.offsets[1:])
        return piece

    def _release(self, delta: TokenDelta, piece: Piece) -> None:
        """Add the text that is safe to show, and its tokens. A stop token is counted, but not shown unless asked."""
        hidden = delta.finish_reason is FinishReason.STOP and not self._shows_stop_token
        released = self._detokenizer.push(delta.token_ids[:-1] if hidden else delta.token_ids)
        text, num_tokens = released.text, released.num_tokens
        if delta.finish_reason is not None and not self._detokenizer.stopped:
            rest = self._detokenizer.flush()
            text, num_tokens = text + rest.text, num_tokens + rest.num_tokens
        if self._detokenizer.stopped:
            self.num_tokens = self._detokenizer.num_output_tokens
        else:
            self.num_tokens += len(delta.token_ids)
        piece.text += text
        if self._is_scored:
            self._held += delta.logprobs
            offsets = self._detokenizer.token_offsets[self._num_released : self._num_released + num_tokens]
            piece.tokens += (_scored(held, self._offset + at) for held, at in zip(self._held, offsets, strict=False))
            del self._held[:num_tokens]
            self._num_released += num_tokens


def _scored(token: TokenLogprobs, offset: int) -> ScoredToken:
    return ScoredToken(token.token_id, offset, token.logprob, token.top)


class Generation:
    """All sequences of one request: `n` choices of each prompt, in that order. Either all begin or none."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer, prompts: list[Prompt], body: SamplingFields) -> None:
        self._streams: list[TokenStream] = []
        wanted = [(prompt, number) for prompt in prompts for number in range(body.n)]
        try:
            for prompt, number in wanted:
                params = _params(prompt, number, body, tokenizer)
                self._streams.append(engine.generate(prompt.token_ids, params, body.priority, body.cache_salt))
            self.choices = [
                Choice(index, prompt, stream, body, tokenizer)
                for index, ((prompt, _), stream) in enumerate(zip(wanted, self._streams, strict=True))
            ]
        except BaseException:
            self.close()
            raise
        self._first_choices = self.choices[:: body.n]

    async def pieces(self) -> AsyncGenerator[Piece]:
        """What the choices give, as it comes, until every one has finished."""
        if len(self.choices) == 1:
            [choice] = self.choices
            async for delta in choice.stream:
                yield choice.advance(delta)
                if choice.finished:
                    return
        else:
            async for piece in self._merged():
                yield piece

    async def _merged(self) -> AsyncGenerator[Piece]:
        reading = {asyncio.ensure_future(anext(choice.stream)): choice for choice in self.choices}
        try:
            while reading:
                done, _ = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
                for delta in sorted(done, key=lambda delta: reading[delta].index):
                    choice = reading.pop(delta)
                    piece = choice.advance(delta.result())
                    if not choice.finished:
                        reading[asyncio.ensure_future(anext(choice.stream))] = choice
                    yield piece
        finally:
            for delta in reading:
                delta.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    def usage(self) -> dict[str, object]:
        """Tokens of the whole request. A prompt counts once, however many choices share it."""
        num_prompt_tokens = sum(len(choice.prompt.token_ids) for choice in self._first_choices)
        num_output_tokens = sum(choice.num_tokens for choice in self.choices)
        num_cached_tokens = sum(choice.stream.num_cached_tokens for choice in self._first_choices)
        return {
            "prompt_tokens": num_prompt_tokens,
            "completion_tokens": num_output_tokens,
            "total_tokens": num_prompt_tokens + num_output_tokens,
            "prompt_tokens_details": {"cached_tokens": num_cached_tokens},
        }

    def close(self) -> None:
        """End what has not ended. May be called any number of times."""
        for stream in self._streams:
            stream.close()


def _params(prompt: Prompt, number: int, body: SamplingFields, tokenizer: Tokenizer) -> SamplingParams:
    """Choice 0 has the prompt's seed, the others seeds derived from it, all of them different."""
    seed = (prompt.seed + number * SEED_STRIDE) % 2**SEED_BITS
    return body.sampling_params(max(prompt.max_tokens, 1), seed, frozenset(tokenizer.eos_token_ids))
