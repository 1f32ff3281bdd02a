"""How a chat completion writes a reply: as deltas or as a message, with fields for reasoning and tool calls."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable

from app.api.generation.choices import Piece, ScoredToken
from app.api.generation.dialect import Json
from app.api.openai.logprobs import chat_logprobs
from app.api.openai.reply import Reply
from app.messages import FinishReason
from app.text.replies.parts import CallArguments, CallBegins, Content, Reader, Reasoning
from app.text.tokenizer import Tokenizer


class ChatReply(Reply):
    """In a stream, each choice begins with its role and ends with an empty delta."""

    id_prefix = "chatcmpl"
    object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def __init__(
        self,
        model: str,
        tokenizer: Tokenizer,
        num_logprobs: int | None,
        make_reader: Callable[[], Reader],
        *,
        names_call: bool = False,
    ) -> None:
        """`make_reader` is called for each choice. `names_call` says that the request names the function to call."""
        super().__init__(model, tokenizer, num_logprobs)
        self._names_call = names_call
        self._begun: set[int] = set()
        self._readers = defaultdict[int, Reader](make_reader)
        self._calls = defaultdict[int, list[Json]](list)

    def read(self, piece: Piece) -> list[Piece]:
        reader = self._readers[piece.index]
        parts = reader.feed(piece.text)
        if piece.finish_reason is not None:
            parts += reader.finish(was_cut=piece.finish_reason is FinishReason.LENGTH)
        pieces = [
            Piece(piece.index, part.text) if isinstance(part, Content) else Piece(piece.index, "", part=part)
            for part in parts
        ]
        if not pieces:
            pieces = [Piece(piece.index, "")]
        pieces[0].tokens = piece.tokens
        pieces[-1].finish_reason = piece.finish_reason
        return pieces

    def chunks(self, piece: Piece) -> list[Json]:
        chunks = []
        if piece.index not in self._begun:
            self._begun.add(piece.index)
            chunks.append(_delta(piece.index, {"role": "assistant", "content": "", "refusal": None}))
        if piece.text or piece.tokens or piece.part:
            chunks.append(_delta(piece.index, self._shown(piece), self._logprobs(piece.tokens)))
        if piece.finish_reason is not None:
            chunks.append(_delta(piece.index, {}, finish_reason=self._finish_reason(piece)))
        return chunks

    def choice(self, piece: Piece) -> Json:
        message: Json = {"role": "assistant", "content": "", "refusal": None}
        for part in self.read(Piece(piece.index, piece.text, finish_reason=piece.finish_reason)):
            match part.part:
                case None:
                    message["content"] += part.text
                case Reasoning(text):
                    message["reasoning_content"] = message.get("reasoning_content", "") + text
                case CallBegins():
                    self._shown(part)
                case CallArguments(text):
                    self._calls[piece.index][-1]["function"]["arguments"] += text
        if calls := self._calls[piece.index]:
            message["content"] = message["content"] or None
            message["tool_calls"] = calls
        return {
            "index": piece.index,
            "message": message,
            "logprobs": self._logprobs(piece.tokens),
            "finish_reason": self._finish_reason(piece),
        }

    def _shown(self, piece: Piece) -> Json:
        """The delta that shows a piece: a single field."""
        calls = self._calls[piece.index]
        match piece.part:
            case Reasoning(text):
                return {"reasoning_content": text}
            case CallBegins(name):
                call = {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function"}
                calls.append({**call, "function": {"name": name, "arguments": ""}})
                return {"tool_calls": [{"index": len(calls) - 1, **call, "function": {"name": name, "arguments": ""}}]}
            case CallArguments(text):
                return {"tool_calls": [{"index": len(calls) - 1, "function": {"arguments": text}}]}
            case None:
                return {"content": piece.text}

    def _finish_reason(self, piece: Piece) -> str | None:
        """A reply that called tools and then stopped did so for the calls, unless one of them is incomplete. Where the
        request names the call, the reply just stops, as OpenAI has it.
        """
        is_calling = (
            not self._names_call and bool(self._calls[piece.index]) and not self._readers[piece.index].has_broken_call
        )
        return "tool_calls" if is_calling and piece.finish_reason is FinishReason.STOP else piece.finish_reason

    def _logprobs(self, tokens: list[ScoredToken]) -> Json | None:
        if self.num_logprobs is None:
            return None
        return chat_logprobs(tokens, self.num_logprobs, self.tokenizer)


def _delta(index: int, delta: Json, logprobs: Json | None = None, finish_reason: str | None = None) -> Json:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
