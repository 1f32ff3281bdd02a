"""The machine's ceilings: the probe's products are right, every word is read, and rates are positive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.bench import ceilings
from app.bench.ceilings import KINDS, Ceiling, Ceilings, Probe, probe

MIB = 2**20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inner", [4, 8, 100])
def test_the_probes_products_are_right(kind: str, inner: int) -> None:
    compiled = Probe(num_threads=2)
    if not compiled.has(kind):
        pytest.skip(f"this processor has no instructions for {kind}")
    choice = np.random.default_rng(inner)
    left = choice.integers(0, 16, (compiled.num_rows, inner))
    right = choice.integers(-8, 8, (inner, compiled.num_columns))
    out, seconds = compiled.product(kind, left, right, repetitions=3)
    assert (out == 3 * (left @ right)).all()
    assert out.shape == (2, compiled.num_rows, compiled.num_columns)
    assert seconds > 0


@pytest.mark.parametrize(("num_bytes", "num_threads"), [(8, 1), (1000, 3), (MIB + 8, 2)])
def test_every_word_of_a_buffer_is_read_whatever_its_size(num_bytes: int, num_threads: int) -> None:
    """The probe itself checks the sum, and fails where it is not that of all words."""
    assert min(Probe(num_threads).read(num_bytes, seconds=0.001).samples) > 0


@pytest.mark.slow
def test_all_ceilings_are_positive_and_say_what_they_were_measured_with() -> None:
    measured = probe("cpu", num_threads=1, seconds=0.02, buffer_bytes=MIB)
    assert {"float32", "bfloat16"} <= set(measured.products)
    for ceiling in (measured.bandwidth, *measured.products.values()):
        assert min(ceiling.samples) > 0
        assert min(ceiling.samples) <= ceiling.median <= max(ceiling.samples)
    assert measured.bandwidth.by == measured.products["float32"].by == "compiled probe"
    assert set(measured.as_json()) == {"bandwidth", "products", "num_threads", "buffer_bytes", "cache_bytes"}


def test_without_a_compiler_torch_measures_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr(ceilings, "CPU_SIDE", 16)
    measured = probe("cpu", num_threads=1, seconds=0.02, buffer_bytes=MIB)
    assert measured.bandwidth.by == "torch sum"
    assert {name: ceiling.by for name, ceiling in measured.products.items()} == {
        "float32": "torch matmul",
        "bfloat16": "torch matmul",
    }
    assert "there is no C compiler" in caplog.text


def test_the_largest_cache_is_found_and_its_size_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for index, size in enumerate(["32K", "1024K", "16M"]):
        (tmp_path / f"{index}").write_text(f"{size}\n")
    monkeypatch.setattr(ceilings, "_cache_paths", lambda: sorted(tmp_path.iterdir()))
    assert ceilings.last_cache_bytes() == 16 * MIB
    monkeypatch.setattr(ceilings, "_cache_paths", list)
    assert ceilings.last_cache_bytes() == 0


def test_weights_of_a_type_without_a_product_are_compared_with_float32() -> None:
    rate = Ceiling("test", (1.0, 3.0, 2.0))
    measured = Ceilings(rate, {"float32": rate, "bfloat16": rate}, 1, 0, 0)
    assert [measured.product_for(name)[0] for name in ("bfloat16", "float16")] == ["bfloat16", "float32"]
    assert rate.median == 2.0
