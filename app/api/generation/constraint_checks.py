"""Constraints at the door: checked in a thread, and kept for who asks again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

from app.api.errors import Fault
from app.messages import Constraint

MAX_KEPT = 256
MAX_KEPT_CHARS = 8 * 1024 * 1024
"""Of all compiled constraints that are kept."""

MAX_THREADS = 2
"""How many constraints are compiled at a time. One that takes seconds does not keep all others waiting."""

Checked = Constraint | Fault | None
"""A constraint of the kind COMPILED, why there is none, or that any text will do."""


class ConstraintChecks:
    """The constraints that were checked last, each known only to the owner whose request brought it."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_THREADS, "constraints")
        self._kept: OrderedDict[Hashable, Checked] = OrderedDict()
        self._pending: dict[Hashable, asyncio.Future[Checked]] = {}
        self._num_chars = 0

    async def check(self, owner: str, asked: Hashable, compile_it: Callable[[], Checked]) -> Checked:
        """What `compile_it` makes of what is `asked`."""
        key = (owner, asked)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if (pending := self._pending.get(key)) is None:
            pending = asyncio.get_running_loop().run_in_executor(self._threads, compile_it)
            self._pending[key] = pending
            pending.add_done_callback(lambda done: self._keep(key, done))
        return await asyncio.shield(pending)  # others may wait for the same

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _keep(self, key: Hashable, done: asyncio.Future[Checked]) -> None:
        del self._pending[key]
        if done.cancelled() or done.exception() is not None:
            return
        self._kept[key] = done.result()
        self._num_chars += _size(done.result())
        while len(self._kept) > MAX_KEPT or self._num_chars > MAX_KEPT_CHARS:
            _, dropped = self._kept.popitem(last=False)
            self._num_chars -= _size(dropped)


def _size(checked: Checked) -> int:
    return len(checked.text) if isinstance(checked, Constraint) else 0
