"""What a reader gets from the stream of one sequence, and when."""

from __future__ import annotations

import pytest

from app.engine.stream import MAX_TOKENS_BEHIND, CutReason, EngineDied, TokenStream
from app.messages import FinishReason, TokenLogprobs


def make_stream() -> TokenStream:
    return TokenStream(1, 5, 10.0, lambda _: None)


def push(stream: TokenStream, *token_ids: int) -> None:
    for token_id in token_ids:
        stream.push(token_id, None, 11.0)


def taken(stream: TokenStream) -> list[list[int]]:
    return [delta.token_ids for delta in stream.take()]


def test_the_end_wakes_the_reader_and_tokens_wait_until_it_is_woken() -> None:
    stream, news = make_stream(), []
    stream.wake = lambda: news.append(taken(stream))
    push(stream, 1)
    stream.wake()
    push(stream, 2)
    stream.end(FinishReason.STOP)
    stream.wake()
    assert news == [[[1]], [[2]]]
    assert taken(stream) == []


def test_merged_tokens_come_in_one_delta_with_their_logprobs() -> None:
    stream = make_stream()
    stream.merges = True
    for token_id in (1, 2):
        stream.push(token_id, TokenLogprobs(token_id, -0.5), 11.0)
    [delta] = stream.take()
    assert delta.token_ids == [report.token_id for report in delta.logprobs] == [1, 2]


@pytest.mark.parametrize(
    ("num_tokens", "lengths"),
    [(MAX_TOKENS_BEHIND, [1] * MAX_TOKENS_BEHIND), (MAX_TOKENS_BEHIND + 1, [MAX_TOKENS_BEHIND + 1])],
)
def test_tokens_come_one_by_one_until_the_reader_is_too_far_behind(num_tokens: int, lengths: list[int]) -> None:
    stream = make_stream()
    push(stream, *range(num_tokens))
    stream.end(FinishReason.LENGTH)
    stream.wake()
    deltas = taken(stream)
    assert [len(delta) for delta in deltas] == lengths
    assert [token_id for delta in deltas for token_id in delta] == list(range(num_tokens))
    assert taken(stream) == []


def test_a_normal_end_comes_with_the_last_token_and_any_other_on_its_own() -> None:
    ends = {}
    for reason in (FinishReason.LENGTH, FinishReason.ERROR):
        stream = make_stream()
        push(stream, 1)
        stream.end(reason)
        stream.wake()
        ends[reason] = [(delta.token_ids, delta.finish_reason) for delta in stream.take()]
    assert ends == {
        FinishReason.LENGTH: [([1], FinishReason.LENGTH)],
        FinishReason.ERROR: [([1], None), ([], FinishReason.ERROR)],
    }


def test_the_error_of_a_dead_engine_comes_after_the_tokens() -> None:
    stream, news = make_stream(), []
    stream.wake = lambda: news.append("more")
    push(stream, 1, 2)
    stream.end(CutReason.ENGINE_DIED, EngineDied("gone"))
    stream.wake()
    deltas = stream.take()
    assert [next(deltas).token_ids for _ in range(2)] == [[1], [2]]
    with pytest.raises(EngineDied, match="gone"):
        next(deltas)
    assert news == ["more"]
