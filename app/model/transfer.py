"""Copies between the host and the device for which neither waits for the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def to_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """The same numbers on the device; on a CPU, the same memory.

    CUDA waits for all earlier work before it copies more than a little out of pageable memory. So the copy is made from
    pinned memory, which torch's allocator reuses only after the copy.
    """
    if device.type != "cuda":
        return torch.from_numpy(array).to(device)
    return _pinned(array).to(device, non_blocking=True)


def copy_to(target: torch.Tensor, array: NDArray[Any]) -> None:
    """Copy numbers into the beginning of an existing tensor."""
    source = _pinned(array) if target.is_cuda else torch.from_numpy(array)
    target[: len(array)].copy_(source, non_blocking=True)


def _pinned(array: NDArray[Any]) -> torch.Tensor:
    pinned = torch.empty(array.shape, dtype=torch.from_numpy(array[:0]).dtype, pin_memory=True)
    np.copyto(pinned.numpy(), array)
    return pinned


class ToHost:
    """Copies of tensors to the host, which begin when this is constructed."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        self._event: torch.cuda.Event | None = None
        if tensors[0].is_cuda:
            self._tensors = [torch.empty_like(t, device="cpu", pin_memory=True) for t in tensors]
            for on_host, on_device in zip(self._tensors, tensors, strict=True):
                on_host.copy_(on_device, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._tensors = tensors

    def wait(self) -> list[torch.Tensor]:
        """Wait for the copies, and return them."""
        if self._event is not None:
            self._event.synchronize()
        return self._tensors
