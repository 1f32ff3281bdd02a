"""From prompts to pieces of text: the sequences of one request, begun, merged, counted and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

from app.api.gate.owner import Owner
from app.api.generation.admission import SEED_BITS, Prompt
from app.api.generation.choices import MAX_SCORED_TOKENS, Choice, Piece
from app.api.openai.schemas.sampling import SamplingFields
from app.api.service import Engine
from app.engine.stream import TokenStream
from app.messages import FinishReason, SamplingParams
from app.text.tokenizer import Tokenizer

SEED_STRIDE = 0x9E3779B97F4A7C15


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
            elif choice.is_behind or num_scored > MAX_SCORED_TOKENS:
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
