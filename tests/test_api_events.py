"""Events written with a form are what the JSON encoder would write for each of them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.generation.choices import Piece, ScoredToken
from app.api.openai.chat_reply import ChatReply
from app.api.openai.completions import CompletionReply
from app.api.openai.events import EventWriter
from app.api.openai.reply import Reply
from app.api.wire.json_parts import encode
from app.messages import FinishReason
from app.text.replies.format import ReplyFormat
from app.text.replies.reader import ReplyReader
from tests.scripted_engine import byte_tokenizer

AWKWARD = ["", "\0", '"\\u0000"', '"', "\\", "\r\n\n", "\u2028", "\x7f", "\ufffd", "🌊", "data: [DONE]", "null}]"]

texts = st.sampled_from(AWKWARD) | st.text()
tokens = st.just([]) | st.just([ScoredToken(97, 0, -0.5, ((98, -0.7),))])
pieces = st.builds(Piece, st.integers(0, 2), texts, tokens, st.none() | st.sampled_from(FinishReason))

Make = Callable[[str, int | None], Reply]


def completion(model: str, num_logprobs: int | None) -> Reply:
    return CompletionReply(model, byte_tokenizer(), num_logprobs)


def chat(model: str, num_logprobs: int | None) -> Reply:
    return ChatReply(model, byte_tokenizer(), num_logprobs, lambda: ReplyReader(ReplyFormat()))


@pytest.mark.parametrize("make", [completion, chat])
@given(
    model=st.sampled_from(["tiny", *AWKWARD]),
    num_logprobs=st.sampled_from([None, 1]),
    include_usage=st.booleans(),
    given_pieces=st.lists(pieces, max_size=12),
)
def test_every_event_is_the_chunk_of_its_piece_byte_for_byte(
    make: Make, model: str, num_logprobs: int | None, include_usage: bool, given_pieces: list[Piece]
) -> None:
    reply, plain = make(model, num_logprobs), make(model, num_logprobs)
    envelope = reply.envelope(reply.chunk_object)
    writer = EventWriter(reply, include_usage)
    for piece in given_pieces:
        chunks = [envelope | {"choices": [chunk]} for chunk in plain.chunks(piece)]
        expected = [encode(chunk | {"usage": None} if include_usage else chunk) for chunk in chunks]
        assert writer.write(piece) == "".join(f"data: {data}\n\n" for data in expected)


@given(text=st.sampled_from(AWKWARD) | st.text())
def test_a_text_comes_back_as_it_was(text: str) -> None:
    writer = EventWriter(completion("tiny", None), include_usage=False)
    writer.write(Piece(0, "first"))
    for event in writer.write(Piece(0, text)).encode().split(b"\n\n")[:-1]:
        assert json.loads(event.removeprefix(b"data: "))["choices"][0]["text"] == text
