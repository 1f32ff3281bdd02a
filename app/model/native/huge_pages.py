"""Memory in few, huge pages, so that reading all of it does not stall on address translation."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

import torch

PIECE_BYTES = 64 << 20
LINE_BYTES = 64


def ask_for_huge_pages() -> None:
    """Have torch ask Linux for huge pages for tensors of 2 MiB and more. Call it before torch allocates anything."""
    if Path("/sys/kernel/mm/transparent_hugepage").exists():
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


class HugePages:
    """Hands out slices of tensors that are large enough for huge pages. It is thread-safe, and takes nothing back.

    What is never handed out is never touched, and so takes no memory.
    """

    def __init__(self) -> None:
        self._left = torch.empty(0, dtype=torch.uint8)
        self._lock = Lock()

    def take(self, num_bytes: int) -> torch.Tensor:
        """Uninitialised bytes, aligned to a cache line."""
        whole_lines = -(-num_bytes // LINE_BYTES) * LINE_BYTES
        with self._lock:
            if whole_lines > len(self._left):
                self._left = torch.empty(max(whole_lines, PIECE_BYTES), dtype=torch.uint8)
            taken, self._left = self._left[:num_bytes], self._left[whole_lines:]
        return taken
