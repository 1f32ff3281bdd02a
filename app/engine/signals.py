"""Signals that a terminal sends to the whole process group. What they mean is the API process's to decide."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def group_signals_blocked() -> Iterator[None]:
    """Block these signals in this thread, and in a process that is started meanwhile until it ignores them.

    Without it a Ctrl-C that comes while the new process still imports its modules ends it with a traceback.
    """
    resource_tracker.ensure_running()  # when it starts it unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_group_signals() -> None:
    """Ignore them in this process, those too that came while they were blocked."""
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, GROUP_SIGNALS)
