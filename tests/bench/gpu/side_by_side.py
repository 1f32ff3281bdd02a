"""What takes a compiler longer than the device, in as many processes as there are cores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tests.bench.gpu.scale import Scale

Asked = TypeVar("Asked")
Given = TypeVar("Given")

MAX_PROCESSES = 12


def side_by_side(scale: Scale, run: Callable[[Asked], Given], asked: Sequence[Asked]) -> Iterator[Given]:
    """`run` of each, in their order, as soon as it is there. Small, all of it is in this process."""
    if scale.smoke:
        yield from map(run, asked)
        return
    num_processes = min(MAX_PROCESSES, len(asked), os.cpu_count() or 1)
    with multiprocessing.get_context("spawn").Pool(num_processes) as pool:
        yield from pool.imap(run, asked)
