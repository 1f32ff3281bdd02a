"""A reader of a token stream for tests that have no generation around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from app.engine.stream import TokenDelta, TokenStream


async def read(stream: TokenStream) -> AsyncIterator[TokenDelta]:
    """What comes, as soon as it comes, until the end."""
    news = asyncio.Event()
    stream.wake = news.set
    while True:
        news.clear()
        for delta in stream.take():
            yield delta
            if delta.finish_reason is not None:
                return
        await news.wait()
