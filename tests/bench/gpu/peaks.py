"""What everything else is measured by."""

from __future__ import annotations

from tests.bench.gpu.figures import Figure, Tell
from tests.bench.gpu.scale import Scale, peaks


def measure(scale: Scale, tell: Tell) -> None:
    """Other sections take them again, in their own processes."""
    most = peaks(scale)
    tell(Figure("peaks", "copy, read and written", tuple(rate / 1e12 for rate in most.copy), "TB/s"))
    tell(Figure("peaks", f"product, {scale.dtype}", tuple(rate / 1e12 for rate in most.product), "TFLOP/s"))
