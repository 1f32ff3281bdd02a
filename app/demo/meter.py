"""Losses and speed of a run, read only now and then, because reading a loss immediately would stall the device."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch

from app.demo.checkpoint import Progress

_PERIOD = 1.0
"""Seconds between two readings."""

T = TypeVar("T")


class Meter:
    """Collects all losses of a run in its progress."""

    def __init__(self, progress: Progress, tokens_per_step: int) -> None:
        self._progress = progress
        self._tokens_per_step = tokens_per_step
        self._unread: list[torch.Tensor] = []
        self._read_at = time.perf_counter()
        self._waited = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time for another reading."""
        return time.perf_counter() - self._read_at > _PERIOD

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass the batches through, and add up the time spent waiting for them."""
        began = time.perf_counter()
        for batch in batches:
            self._waited += time.perf_counter() - began
            yield batch
            began = time.perf_counter()

    def add(self, loss: torch.Tensor) -> None:
        """Add the loss of the next step, which the device may still be computing."""
        self._unread.append(loss)

    def read(self) -> str:
        """Wait for the losses so far. Returns loss and speed as text."""
        self._progress.losses += torch.stack(self._unread).tolist()
        seconds = time.perf_counter() - self._read_at
        self._progress.seconds += seconds
        speed, waiting = len(self._unread) * self._tokens_per_step / seconds, self._waited / seconds
        self._unread.clear()
        self._waited = 0.0
        self._read_at = time.perf_counter()
        return f"loss={self._progress.recent_loss(50):.3f}, tokens/s={speed:,.0f}, waiting for text={waiting:.0%}"
