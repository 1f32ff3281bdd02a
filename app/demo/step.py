"""One step of the training: loss of packed rows in bfloat16, update of weights in float32."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from app.demo.packing import IGNORED, Batch

_COUNT_STEP = 128
"""Learned tokens are padded to a multiple of this: oneDNN keeps a product of its own for every number of rows, and a
long run would gather gigabytes of them."""
_ATTENTION = (SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
"""Those that take a mask and whose gradients can be had the same each time."""

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def make_repeatable() -> None:
    """Let a GPU compute the same each time; to be called before it is used."""
    # cuBLAS reads it when it starts: without it the order of its sums may differ.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Would write to all memory once more, to make a use of it before it is filled repeatable, too.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def packed_mask(position_ids: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`[rows, 1, length, length]`, to be added to scores: a token sees itself and what is before it in its document."""
    places = torch.arange(position_ids.shape[1], device=position_ids.device)
    starts = places - position_ids
    visible = (places[:, None] >= places) & (starts[:, :, None] == starts[:, None, :])
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, -torch.inf)[:, None]


def fuse_norms(model: LlamaForCausalLM) -> None:
    """Let torch's own operator normalize, which is one pass over memory instead of eight."""
    for module in model.modules():
        if isinstance(module, LlamaRMSNorm):
            module.forward = partial(
                functional.rms_norm,
                normalized_shape=module.weight.shape,
                weight=module.weight,
                eps=module.variance_epsilon,
            )


def mean_loss(model: LlamaForCausalLM) -> Loss:
    """Mean negative log-likelihood of `targets` that are not ignored; the head is computed only at their `places`."""

    def loss(
        input_ids: torch.Tensor, position_ids: torch.Tensor, places: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        mask = packed_mask(position_ids, model.dtype)
        hidden = model.model(
            input_ids=input_ids, position_ids=position_ids, attention_mask=mask, use_cache=False
        ).last_hidden_state
        logits = functional.linear(hidden.flatten(0, 1)[places], model.lm_head.weight)
        return functional.cross_entropy(logits.float(), targets, ignore_index=IGNORED)

    return loss


def learned(labels: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of `[rows, length]`, the flat places before what is learned, and what is learned there."""
    places = np.flatnonzero(np.pad(labels[:, 1:], ((0, 0), (0, 1)), constant_values=IGNORED) != IGNORED)
    targets = labels.reshape(-1)[places + 1].astype(np.int64)
    padding = (0, -len(places) % _COUNT_STEP)
    return np.pad(places, padding), np.pad(targets, padding, constant_values=IGNORED)


class Stepper:
    """Computes in bfloat16, but keeps the weights in float32: small updates would be lost in fewer bits."""

    def __init__(self, model: LlamaForCausalLM, *, compiled: bool) -> None:
        self._device = model.device
        self._compiled = compiled
        self._weights = list(model.parameters())
        self._masters = [torch.nn.Parameter(weight.detach().float().clone()) for weight in self._weights]
        for weight in self._weights:
            # Not model.bfloat16(), which would round the frequencies of the rotary embedding, too.
            weight.data = weight.data.bfloat16()
        self._optimizer = torch.optim.AdamW(self._masters, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        if compiled:  # one form for each row length
            self._loss: Loss = torch.compile(mean_loss(model), dynamic=False)
        else:
            fuse_norms(model)
            self._loss = mean_loss(model)

    def step(self, batch: Batch, learning_rate: float) -> torch.Tensor:
        """Learn from one batch; returns its loss in nats per learned token, which may still be in the making."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        places, targets = map(self._moved, learned(batch.labels))
        if self._compiled:
            for counted in (places, targets):
                torch._dynamo.mark_dynamic(counted, 0)
        with sdpa_kernel(list(_ATTENTION)):
            loss = self._loss(self._moved(batch.input_ids), self._moved(batch.position_ids), places, targets)
            loss.backward()  # type: ignore[no-untyped-call]
        for master, weight in zip(self._masters, self._weights, strict=True):
            assert weight.grad is not None
            master.grad, weight.grad = weight.grad.float(), None
        torch.nn.utils.clip_grad_norm_(self._masters, 1.0)
        self._optimizer.step()
        self._publish()
        return loss.detach()

    def _moved(self, array: NDArray[Any]) -> torch.Tensor:
        """The array on the device, to which it is copied while the device goes on computing."""
        tensor = torch.from_numpy(array).long()
        return tensor.pin_memory().to(self._device, non_blocking=True) if self._device.type == "cuda" else tensor

    def _publish(self) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list[torch.Tensor](self._weights), list[torch.Tensor](self._masters))

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, apart from its batch."""
        return {"weights": [master.detach() for master in self._masters], "optimizer": self._optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        with torch.no_grad():
            torch._foreach_copy_(list[torch.Tensor](self._masters), state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._publish()
