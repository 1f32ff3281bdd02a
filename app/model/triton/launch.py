"""Options that kernels are launched with."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

HOPPER = (9, 0)


@cache
def launch_options(device: torch.device) -> dict[str, Any]:
    """On devices that can, a kernel begins before its predecessor has ended (programmatic dependent launch)."""
    if device.type != "cuda" or torch.version.hip or torch.cuda.get_device_capability(device) < HOPPER:
        return {"IS_DEPENDENT": False}
    return {"IS_DEPENDENT": True, "launch_pdl": True}
