"""From the host to the device without waiting for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def to_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """The same numbers on the device; on a CPU the very same memory.

    CUDA waits for all earlier work before it copies more than a little out of ordinary memory. So it is given pinned
    memory instead, which torch's allocator gives out again only after the copy.
    """
    if device.type != "cuda":
        return torch.from_numpy(array).to(device)
    pinned = torch.empty(array.shape, dtype=torch.from_numpy(array[:0]).dtype, pin_memory=True)
    np.copyto(pinned.numpy(), array)
    return pinned.to(device, non_blocking=True)
