"""What one reader gets of one sequence, and when."""

from __future__ import annotations

import asyncio

import pytest

from app.engine.stream import MOST_TOKENS_BEHIND, EngineDied, TokenStream
from app.messages import FinishReason


def make_stream() -> TokenStream:
    return TokenStream(1, 5, 10.0, lambda _: None)


def push(stream: TokenStream, *token_ids: int) -> None:
    for token_id in token_ids:
        stream.push(token_id, None, 11.0)


async def collect(stream: TokenStream) -> list[list[int]]:
    return [delta.token_ids async for delta in stream]


async def test_a_reader_waits_for_each_token_and_for_the_end() -> None:
    stream = make_stream()
    reading = asyncio.ensure_future(collect(stream))
    for token_id in (1, 2):
        await asyncio.sleep(0)
        assert not stream.is_ahead
        push(stream, token_id)
        await asyncio.sleep(0)
    stream.finish(FinishReason.STOP)
    assert await reading == [[1], [2], []]


@pytest.mark.parametrize(
    ("num_tokens", "lengths"),
    [(MOST_TOKENS_BEHIND, [1] * MOST_TOKENS_BEHIND), (MOST_TOKENS_BEHIND + 1, [MOST_TOKENS_BEHIND + 1])],
)
async def test_tokens_come_one_by_one_until_the_reader_is_too_far_behind(num_tokens: int, lengths: list[int]) -> None:
    stream = make_stream()
    push(stream, *range(num_tokens))
    stream.finish(FinishReason.LENGTH)
    deltas = await collect(stream)
    assert [len(delta) for delta in deltas] == lengths
    assert [token_id for delta in deltas for token_id in delta] == list(range(num_tokens))
    assert not stream.is_ahead


async def test_a_reader_that_is_cancelled_as_its_token_comes_leaves_it_to_the_next() -> None:
    stream = make_stream()
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    reading.cancel()
    push(stream, 1)
    with pytest.raises(asyncio.CancelledError):
        await reading
    push(stream, 2)
    stream.finish(FinishReason.STOP)
    assert await collect(stream) == [[1], [2]]


async def test_the_loss_of_the_engine_comes_after_the_tokens() -> None:
    stream = make_stream()
    push(stream, 1, 2)
    stream.fail(EngineDied("gone"))
    assert [(await anext(stream)).token_ids for _ in range(2)] == [[1], [2]]
    with pytest.raises(EngineDied, match="gone"):
        await anext(stream)


async def test_the_loss_of_the_engine_wakes_a_reader_that_waits() -> None:
    stream = make_stream()
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    stream.fail(EngineDied("gone"))
    with pytest.raises(EngineDied, match="gone"):
        await reading
