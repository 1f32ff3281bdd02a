"""How late the event loop is: what every stream of this process waits for in addition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

INTERVAL = 0.25


async def watch_event_loop_lag(observe: Callable[[float], None]) -> None:
    """Report the seconds by which a timer was late, every `INTERVAL` seconds, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + INTERVAL
        await asyncio.sleep(INTERVAL)
        observe(max(0.0, loop.time() - due))
