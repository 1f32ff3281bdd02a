"""Memory that lies in few pages, so that reading it all does not wait for their addresses."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

import torch

PIECE_BYTES = 64 << 20
LINE_BYTES = 64


def ask_for_huge_pages() -> None:
    """Before torch allocates anything, which then has Linux put tensors of 2 MiB and more into huge pages."""
    if Path("/sys/kernel/mm/transparent_hugepage").exists():
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


class HugePages:
    """Hands out pieces of tensors that are large enough for huge pages. Threads may share it; nothing is taken back.

    What is never handed out is never touched either, and takes no memory.
    """

    def __init__(self) -> None:
        self._left = torch.empty(0, dtype=torch.uint8)
        self._lock = Lock()

    def take(self, num_bytes: int) -> torch.Tensor:
        """Uninitialised bytes from the beginning of a cache line on."""
        whole_lines = -(-num_bytes // LINE_BYTES) * LINE_BYTES
        with self._lock:
            if whole_lines > len(self._left):
                self._left = torch.empty(max(whole_lines, PIECE_BYTES), dtype=torch.uint8)
            taken, self._left = self._left[:num_bytes], self._left[whole_lines:]
        return taken
