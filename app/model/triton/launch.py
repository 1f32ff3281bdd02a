"""How kernels are launched."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

HOPPER = (9, 0)


@cache
def launch_options(device: torch.device) -> dict[str, Any]:
    """Where the device can, a kernel begins before the one before it has ended (programmatic dependent launch)."""
    if device.type != "cuda" or torch.version.hip or torch.cuda.get_device_capability(device) < HOPPER:
        return {"IS_DEPENDENT": False}
    return {"IS_DEPENDENT": True, "launch_pdl": True}
