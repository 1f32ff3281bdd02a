"""The official client works against the server, over a real connection: results, streams, and its own exceptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, AsyncStream, OpenAI
from openai.types import Completion
from openai.types.chat import ChatCompletionMessageParam

from app.engine.health import Overloaded, Unavailable
from app.engine.stream import KillsEngine
from tests.scripted_engine import EOS, MODEL, ScriptedEngine, ids, listening, make_app

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]


def answering(text: str = "hello é") -> ScriptedEngine:
    return ScriptedEngine([*ids(text), EOS])


@asynccontextmanager
async def asked(engine: ScriptedEngine) -> AsyncIterator[AsyncOpenAI]:
    async with (
        listening(make_app(engine)) as (address, _),
        AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


async def asked_in_a_thread(engine: ScriptedEngine, ask: Callable[[OpenAI], Any]) -> Any:
    """What the synchronous client gives, while the server runs on this loop."""
    async with listening(make_app(engine)) as (address, _):
        with OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
            return await asyncio.to_thread(ask, client)


async def test_a_completion() -> None:
    async with asked(answering()) as client:
        answer = await client.completions.create(model=MODEL, prompt="x", n=2, seed=1, logprobs=1)
        assert [choice.text for choice in answer.choices] == ["hello é"] * 2
        assert answer.choices[0].finish_reason == "stop"
        assert answer.choices[0].logprobs is not None
        assert answer.choices[0].logprobs.tokens is not None
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 2 * 9


async def test_a_streamed_completion_with_usage() -> None:
    async with asked(answering()) as client:
        stream = await client.completions.create(
            model=MODEL, prompt="x", stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "hello é"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 9


async def test_a_chat() -> None:
    async with asked(answering("one two")) as client:
        answer = await client.chat.completions.create(
            model=MODEL, messages=HI, n=2, stop=["two"], logprobs=True, top_logprobs=1, extra_body={"top_k": 5}
        )
        assert [choice.message.content for choice in answer.choices] == ["one "] * 2
        assert [choice.finish_reason for choice in answer.choices] == ["stop"] * 2
        assert answer.choices[0].logprobs is not None
        assert answer.choices[0].logprobs.content is not None
        assert [token.token for token in answer.choices[0].logprobs.content] == ["o", "n", "e", " "]


async def test_a_streamed_chat_with_the_clients_own_accumulator() -> None:
    async with (
        asked(answering()) as client,
        client.chat.completions.stream(model=MODEL, messages=HI, stream_options={"include_usage": True}) as stream,
    ):
        answer = await stream.get_final_completion()
        assert answer.choices[0].message.content == "hello é"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 9


async def test_the_synchronous_client_whole_and_streamed() -> None:
    def ask(client: OpenAI) -> tuple[str | None, str, str, str]:
        chat = client.chat.completions.create(model=MODEL, messages=HI)
        chat_chunks = client.chat.completions.create(model=MODEL, messages=HI, stream=True)
        completion = client.completions.create(model=MODEL, prompt="x")
        completion_chunks = client.completions.create(model=MODEL, prompt="x", stream=True)
        return (
            chat.choices[0].message.content,
            "".join(chunk.choices[0].delta.content or "" for chunk in chat_chunks),
            completion.choices[0].text,
            "".join(chunk.choices[0].text for chunk in completion_chunks),
        )

    assert await asked_in_a_thread(answering(), ask) == ("hello é",) * 4


async def test_the_models_are_listed() -> None:
    assert await asked_in_a_thread(answering(), lambda client: [model.id for model in client.models.list()]) == [MODEL]


async def test_errors_are_the_clients_own_exceptions() -> None:
    async with asked(answering()) as client:
        with pytest.raises(openai.BadRequestError, match="tools") as refused:
            await client.chat.completions.create(
                model=MODEL, messages=HI, tools=[{"type": "function", "function": {"name": "f"}}]
            )
        assert (refused.value.param, refused.value.code) == ("tools", "tools_not_supported")
        with pytest.raises(openai.NotFoundError, match="gpt-9"):
            await client.completions.create(model="gpt-9", prompt="x")


@pytest.mark.parametrize(
    ("refusal", "exception"),
    [(Overloaded("full", 1), openai.RateLimitError), (Unavailable("loading", 1), openai.InternalServerError)],
)
async def test_refusals_are_the_clients_own_exceptions(refusal: Exception, exception: type[Exception]) -> None:
    async with asked(ScriptedEngine(refusals={0: refusal})) as client:
        with pytest.raises(exception):
            await client.completions.create(model=MODEL, prompt="x")


async def begun(client: AsyncOpenAI, engine: ScriptedEngine) -> AsyncStream[Completion]:
    """A stream that has its first token, with which its response begins."""
    asking = asyncio.ensure_future(client.completions.create(model=MODEL, prompt="x", stream=True))
    await engine.until(lambda: len(engine.submissions) == 1)
    engine.write("s")
    return await asking


async def test_an_engine_that_dies_in_a_stream_is_an_exception_to_its_reader() -> None:
    engine = ScriptedEngine()
    async with asked(engine) as client:
        stream = await begun(client, engine)
        assert (await anext(aiter(stream))).choices[0].text == "s"
        engine.die()
        with pytest.raises(openai.APIError, match="engine process ended"):
            await anext(aiter(stream))


async def test_what_kills_the_engine_is_not_sent_again_by_a_client_that_repeats() -> None:
    engine = ScriptedEngine()
    async with asked(engine) as client:
        asking = asyncio.ensure_future(client.with_options(max_retries=3).completions.create(model=MODEL, prompt="x"))
        await engine.until(lambda: len(engine.submissions) == 1)
        engine.die(KillsEngine("This kills the engine."))
        with pytest.raises(openai.InternalServerError, match="This kills the engine"):
            await asking
    assert len(engine.submissions) == 1


async def test_a_reader_that_stops_reading_frees_the_sequence() -> None:
    engine = ScriptedEngine()
    async with asked(engine) as client:
        stream = await begun(client, engine)
        await stream.close()
        await engine.until(lambda: len(engine.closed) == 1)
