"""Work in a thread that nobody waits for when the server ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


async def run_in_daemon_thread(function: Callable[[], T]) -> T:
    """Run what may take long. Unlike with `asyncio.to_thread`, neither event loop nor interpreter wait for its end."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # from here on nobody who stops waiting cancels it

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # which is raised where it is waited for
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(future)
