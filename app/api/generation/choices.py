"""One sequence of a request on its way to text: pieces of text with the scored tokens that they are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from app.api.errors import error_at_end
from app.api.generation.admission import Prompt
from app.api.generation.request import Conversation, GenerationRequest
from app.engine.stream import EndReason, TokenDelta, TokenStream
from app.messages import FinishReason, TokenLogprobs
from app.text.detokenizer import IncrementalDetokenizer
from app.text.replies.parts import CallArguments, CallBegins, Reasoning
from app.text.tokenizer import Tokenizer

MAX_SCORED_TOKENS = 256
"""How many tokens with logprobs may be written before others get the event loop: with alternatives, each takes tens of
microseconds."""


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token with its logprob and its offset in the text. The first token of a prompt has no logprob."""

    token_id: int
    offset: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True)
class Piece:
    """What became known of one choice at once: text, the scored tokens that it is made of and perhaps why it ended.

    If the text was recognised as anything but content, it is in `part`, and `text` is empty.
    """

    index: int
    text: str
    tokens: list[ScoredToken] = field(default_factory=list)
    finish_reason: EndReason | None = None
    part: Reasoning | CallBegins | CallArguments | None = None


class Choice:
    """One sequence on its way to text. Logprobs wait here until the text of their tokens is released."""

    def __init__(
        self, index: int, prompt: Prompt, stream: TokenStream, request: GenerationRequest, tokenizer: Tokenizer
    ) -> None:
        self.index = index
        self.prompt = prompt
        self.stream = stream
        self.num_tokens = 0
        self.finished = False
        self._is_scored = request.num_logprobs is not None
        self._shows_stop_token = request.includes_stop_string
        self._held: list[TokenLogprobs] = []
        self._num_released = 0
        self._echo = self._echoed()
        self._echoes = prompt.echo is not None
        self._offset = len(prompt.echo.text) if prompt.echo is not None else 0
        self._detokenizer = IncrementalDetokenizer(
            tokenizer,
            stop=tuple(request.stop),
            skip_special_tokens=request.skips_special_tokens,
            include_stop=request.includes_stop_string,
            prompt_token_ids=prompt.token_ids,
            kept_token_ids=_reply_markup(request, tokenizer),
        )

    def advance(self, delta: TokenDelta) -> Piece:
        """The next piece. This is where it is decided how the sequence ended, and with how many tokens: a stop string
        ends it whatever the engine has generated since. Raises ApiError if it failed.
        """
        reason = delta.finish_reason
        if reason is not None and (error := error_at_end(reason)):
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
            self.stream.close(reason, self.num_tokens)
        return Piece(self.index, text, tokens, reason)

    @property
    def is_behind(self) -> bool:
        """Whether more was available at once than has been taken."""
        return self.stream.is_behind or (self._echoes and self.stream.num_output_tokens > 0)

    def pieces(self) -> Iterator[Piece]:
        """What has arrived since the last call, limited to a first part if it is very much. A prompt that is sent back
        comes first.
        """
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
        for start in range(0, len(token_ids), MAX_SCORED_TOKENS):
            end = start + MAX_SCORED_TOKENS
            until = echo.offsets[end] if end < len(token_ids) else None
            yield Piece(self.index, echo.text[echo.offsets[start] : until], [*islice(tokens, MAX_SCORED_TOKENS)])

    def _release(self, delta: TokenDelta, tokens: list[ScoredToken]) -> str:
        """The text that is safe to show, whose tokens are appended to `tokens`. A stop token counts, but is shown only
        if the request asks for that.
        """
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


def _reply_markup(request: GenerationRequest, tokenizer: Tokenizer) -> frozenset[int]:
    """The special tokens that must be in the text of an answer, because its reader tells its parts apart by them."""
    prompts = request.prompts
    if isinstance(prompts, Conversation):
        return tokenizer.reply_markup(with_tools=bool(prompts.tools))
    return frozenset()


def _scored(token: TokenLogprobs, offset: int) -> ScoredToken:
    return ScoredToken(token.token_id, offset, token.logprob, token.top)
