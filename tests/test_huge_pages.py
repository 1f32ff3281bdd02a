"""Weights lie side by side in large pieces of memory, which Linux keeps in few pages."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from app.model.native.huge_pages import PIECE_BYTES, HugePages

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")

ENGINE = """
import re
from app.config import Config
from app.engine.startup import start_engine
start_engine(Config(model="demo", kv_cache_memory="64MiB", threads=1), lambda loading: None)
print(sum(map(int, re.findall(r"AnonHugePages: +(\\d+) kB", open("/proc/self/smaps").read()))))
"""


def test_pieces_are_disjoint_aligned_and_as_large_as_asked() -> None:
    pages = HugePages()
    sizes = [100, 64, 1, PIECE_BYTES + 1, 3, PIECE_BYTES - 64]
    pieces = [pages.take(size) for size in sizes]
    assert [piece.nbytes for piece in pieces] == sizes
    assert all(piece.data_ptr() % 64 == 0 for piece in pieces)
    spans = sorted((piece.data_ptr(), piece.data_ptr() + piece.nbytes) for piece in pieces)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


def test_small_pieces_lie_side_by_side() -> None:
    pages = HugePages()
    first, second = pages.take(100), pages.take(100)
    assert second.data_ptr() == first.data_ptr() + 128


@pytest.mark.skipif(not SETTING.exists() or "[never]" in SETTING.read_text(), reason="a system without huge pages")
def test_an_engine_has_its_weights_and_its_cache_in_huge_pages() -> None:
    run = subprocess.run([sys.executable, "-c", ENGINE], capture_output=True, text=True, timeout=120, check=True)
    assert int(run.stdout.split()[-1]) > 16 << 10
