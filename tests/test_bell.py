"""A bell is heard however it is rung: before, while and after somebody listens."""

from __future__ import annotations

import asyncio

from app.api.bell import Bell


async def test_whoever_listens_hears_it_when_it_rings_and_once_however_often() -> None:
    bell = Bell()
    hearing = asyncio.ensure_future(bell.heard())
    await asyncio.sleep(0)
    assert not hearing.done()
    bell.ring()
    bell.ring()
    await hearing
    again = asyncio.ensure_future(bell.heard())
    await asyncio.sleep(0)
    assert not again.done()
    bell.ring()
    await again


async def test_a_ring_that_nobody_heard_is_heard_by_who_comes() -> None:
    bell = Bell()
    bell.ring()
    async with asyncio.timeout(10):
        await bell.heard()
