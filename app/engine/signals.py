"""Signals that a terminal sends to the whole process group; only the API process reacts to them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def group_signals_blocked() -> Iterator[None]:
    """Block these signals in this thread; a process that is started meanwhile inherits the mask until it ignores them.

    Otherwise a Ctrl-C while the new process still imports its modules would end it with a traceback.
    """
    resource_tracker.ensure_running()  # it unblocks signals when it starts, so it must be running before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_group_signals() -> None:
    """Ignore these signals in this process, including those that arrived while they were blocked."""
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, GROUP_SIGNALS)
