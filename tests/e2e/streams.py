"""Completions read over a connection of one's own, with nothing between the test and the bytes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import httpx

DONE = "[DONE]"
END_SECONDS = 60

Read = Callable[[httpx.AsyncClient, str, dict[str, Any]], Awaitable[tuple[str, str]]]
"""Gives the text of one completion, and its finish reason."""


async def events_of(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> AsyncGenerator[Any, None]:
    """The events of a streamed completion as they come; the last is `DONE` as it stands."""
    async with client.stream("POST", f"{url}/v1/completions", json=body | {"stream": True}) as response:
        assert response.status_code == httpx.codes.OK, await response.aread()
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                data = line.removeprefix("data: ")
                yield DONE if data == DONE else json.loads(data)


def text_of(event: Any) -> str:
    """The text that an event adds; none in errors, usage and the end."""
    choices = event.get("choices", []) if isinstance(event, dict) else []
    return "".join(choice["text"] for choice in choices)


def is_error(event: Any) -> bool:
    return isinstance(event, dict) and "error" in event


async def read_streamed(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> tuple[str, str]:
    """A completion put together from its stream."""
    async with aclosing(events_of(client, url, body)) as stream:
        *events, done = [event async for event in stream]
    assert done == DONE
    assert not any(map(is_error, events)), events
    [reason] = [choice["finish_reason"] for event in events for choice in event["choices"] if choice["finish_reason"]]
    return "".join(map(text_of, events)), reason


async def read_whole(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> tuple[str, str]:
    """A completion sent in one piece."""
    response = await client.post(f"{url}/v1/completions", json=body)
    assert response.status_code == httpx.codes.OK, response.text
    [choice] = response.json()["choices"]
    return choice["text"], choice["finish_reason"]


class Reading:
    """A stream that is read in the background, from now to its end."""

    def __init__(self, client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> None:
        self.events: list[Any] = []
        self.begun = asyncio.Event()
        self.ended_at = 0.0
        self._reading = asyncio.create_task(self._read(client, url, body))

    @property
    def text(self) -> str:
        return "".join(map(text_of, self.events))

    async def end(self) -> list[Any]:
        """All events; raises what broke the connection, and TimeoutError if there is no end."""
        await asyncio.wait_for(self._reading, END_SECONDS)
        return self.events

    async def leave(self) -> None:
        """Close the connection in the middle of the stream."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self, client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> None:
        async with aclosing(events_of(client, url, body)) as stream:
            async for event in stream:
                self.events.append(event)
                self.begun.set()
        self.ended_at = time.monotonic()


async def all_begun(readings: list[Reading]) -> None:
    async with asyncio.timeout(END_SECONDS):
        await asyncio.gather(*(reading.begun.wait() for reading in readings))
