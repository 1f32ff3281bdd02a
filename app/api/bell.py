"""How a task waits for news."""

from __future__ import annotations

import asyncio


class Bell:
    """Rung by anybody, heard by one task: a ring that comes while it does not listen is heard when it does."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = self._loop.create_future()

    def ring(self) -> None:
        if not self._rung.done():
            self._rung.set_result(None)

    async def heard(self) -> None:
        """Wait until it rings, or has rung since the last time."""
        await self._rung
        self._rung = self._loop.create_future()
