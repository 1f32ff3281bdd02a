"""Work in a thread that does not keep the server from ending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


async def run_in_daemon_thread(function: Callable[[], T]) -> T:
    """Run what may take long. Unlike with `asyncio.to_thread`, neither event loop nor interpreter waits for its end."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # so that a waiter that gives up does not cancel it

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # raised again where it is awaited
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(future)
