"""The official client, synchronous and asynchronous, behind one way to call it, so that every test runs with both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from openai import AsyncOpenAI, OpenAI


class Calls(Protocol):
    """`send` is for what the client has no more to say of: it takes the path of the call, like `chat.completions`."""

    def create(self, resource: str, **fields: Any) -> Any: ...

    def stream(self, resource: str, **fields: Any) -> list[Any]:
        """Every chunk of a streamed answer."""

    def models(self) -> list[Any]: ...


class SyncCalls:
    def __init__(self, client: OpenAI) -> None:
        self._client = client

    def create(self, resource: str, **fields: Any) -> Any:
        return _resource(self._client, resource).create(**fields)

    def stream(self, resource: str, **fields: Any) -> list[Any]:
        return list(_resource(self._client, resource).create(stream=True, **fields))

    def models(self) -> list[Any]:
        return list(self._client.models.list())


class AsyncCalls:
    """Every call on one event loop, to its end."""

    def __init__(self, client: AsyncOpenAI, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def create(self, resource: str, **fields: Any) -> Any:
        return self._runner.run(_awaited(_resource(self._client, resource).create(**fields)))

    def stream(self, resource: str, **fields: Any) -> list[Any]:
        return self._runner.run(_streamed(_resource(self._client, resource).create(stream=True, **fields)))

    def models(self) -> list[Any]:
        return self._runner.run(_listed(self._client.models.list()))


@contextmanager
def sync_calls(url: str) -> Iterator[Calls]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield SyncCalls(client)


@contextmanager
def async_calls(url: str) -> Iterator[Calls]:
    with asyncio.Runner() as runner:
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        yield AsyncCalls(client, runner)
        runner.run(client.close())


def _resource(client: Any, path: str) -> Any:
    for name in path.split("."):
        client = getattr(client, name)
    return client


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


async def _streamed(answer: Awaitable[AsyncIterable[Any]]) -> list[Any]:
    return [chunk async for chunk in await answer]


async def _listed(items: AsyncIterable[Any]) -> list[Any]:
    return [item async for item in items]
