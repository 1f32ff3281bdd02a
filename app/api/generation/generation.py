"""From prompts to pieces of text: the sequences of one request, started, merged, counted and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING

from app.api.generation.admission import SEED_BITS, Prompt
from app.api.generation.choices import MAX_SCORED_TOKENS, Choice, Piece
from app.api.generation.engine import Engine
from app.api.generation.request import GenerationRequest
from app.api.generation.usage import Usage
from app.engine.stream import CutReason, EndReason, TokenStream
from app.messages import FinishReason, Sampling, SamplingParams
from app.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from app.api.gate.owner import Owner

SEED_STRIDE = 0x9E3779B97F4A7C15


class Generation:
    """All sequences of one request: the choices of each prompt, in that order. Either all of them start or none.

    `news` is set when there may be more pieces, until they are taken, unless something else is to be called instead.
    """

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, prompts: list[Prompt], request: GenerationRequest, owner: Owner
    ) -> None:
        self.tokenizer = tokenizer
        self.streams: list[TokenStream] = []
        self._end: asyncio.TimerHandle | None = None
        wanted = [(prompt, number) for prompt in prompts for number in range(request.num_choices)]
        engine.check_room(len(wanted), owner.name)
        sampling = request.sampling_with(tokenizer.sampling_defaults)
        try:
            for prompt, number in wanted:
                stream = engine.generate(
                    prompt.token_ids,
                    _params(prompt, number, request, sampling),
                    request.priority,
                    owner.cache_salt(request.cache_salt),
                    owner.name,
                    owner.precedence(request.priority),
                    prompt.constraint,
                )
                self.streams.append(stream)
            self.choices = [
                Choice(index, prompt, stream, request, tokenizer)
                for index, ((prompt, _), stream) in enumerate(zip(wanted, self.streams, strict=True))
            ]
        except BaseException:  # whatever it was: none starts without the others
            self.close()
            raise
        self._first_choices = self.choices[:: request.num_choices]
        self._unfinished = list(self.choices)
        self.news = asyncio.Event()
        self.call(self.news.set)
        self.news.set()  # for what came before

    def call(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when there may be more pieces, in place of what was called before: `news.set` at first."""
        self._wake = wake
        for stream in self.streams:
            stream.wake = wake

    def end_by(self, deadline: float) -> None:
        """Cut off what has not ended by `deadline`, a time of the event loop's clock."""
        if deadline < inf:
            self._end = asyncio.get_running_loop().call_at(deadline, self._time_out)

    def pieces(self) -> Iterator[Piece]:
        """What the choices have produced since the last call. Raises what ended one of them, after its last piece.

        If it is very much, only a part comes at once, and the rest after the event loop has served others.
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
        """Whether there are no more pieces to come."""
        return not self._unfinished

    @property
    def is_over(self) -> bool:
        """Whether every sequence has ended."""
        return all(stream.finish_reason is not None for stream in self.streams)

    def usage(self) -> Usage:
        """What has been used so far."""
        return Usage(
            num_prompt_tokens=sum(len(choice.prompt.token_ids) for choice in self._first_choices),
            num_cached_tokens=sum(choice.stream.num_cached_tokens for choice in self._first_choices),
            num_output_tokens=sum(choice.num_tokens for choice in self.choices),
        )

    def _time_out(self) -> None:
        for stream in self.streams:
            stream.end(CutReason.REQUEST_TIMEOUT)
            stream.wake()

    def close(self, reason: EndReason = FinishReason.ABORT) -> None:
        """End what has not ended. May be called any number of times."""
        if self._end is not None:
            self._end.cancel()
        for stream in self.streams:
            stream.close(reason)


def _params(prompt: Prompt, number: int, request: GenerationRequest, sampling: Sampling) -> SamplingParams:
    """What the engine gets. Choice 0 has the prompt's seed, the others different seeds derived from it."""
    drawn = {name: getattr(sampling, name) for name in Sampling.__dataclass_fields__}
    return SamplingParams(
        max_tokens=max(prompt.max_tokens, 1),
        min_tokens=request.min_tokens,
        stop_token_ids=prompt.stop_token_ids,
        seed=(prompt.seed + number * SEED_STRIDE) % 2**SEED_BITS,
        logprobs=request.num_logprobs,
        prompt_logprobs=request.num_prompt_logprobs,
        **drawn,
    )
