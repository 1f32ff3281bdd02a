"""A training step: the loss of packed rows in bfloat16, and an update of the weights in float32."""

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
"""Learned tokens are padded to a multiple of this: oneDNN caches a separate kernel for every number of rows, which
would add up to gigabytes over a long run."""
_ATTENTION = (SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
"""The attention backends that accept a mask and have deterministic gradients."""

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def make_repeatable() -> None:
    """Make a GPU deterministic; to be called before it is used."""
    # cuBLAS reads this when it starts. Without it, the order of its sums may vary.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # This would write to all memory once more, only to make reads of uninitialised memory deterministic too.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def packed_mask(position_ids: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A mask `[rows, 1, length, length]` to add to scores: a token attends to itself and earlier ones of a text."""
    places = torch.arange(position_ids.shape[1], device=position_ids.device)
    starts = places - position_ids
    visible = (places[:, None] >= places) & (starts[:, :, None] == starts[:, None, :])
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, -torch.inf)[:, None]


def fuse_norms(model: LlamaForCausalLM) -> None:
    """Replace the norms by torch's own operator, which makes one pass over memory instead of eight."""
    for module in model.modules():
        if isinstance(module, LlamaRMSNorm):
            module.forward = partial(
                functional.rms_norm,
                normalized_shape=module.weight.shape,
                weight=module.weight,
                eps=module.variance_epsilon,
            )


def mean_loss(model: LlamaForCausalLM) -> Loss:
    """A function for the mean negative log-likelihood of `targets` that are not ignored; it computes the head only at
    their `places`.
    """

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
    """For labels `[rows, length]`: the flat positions before the learned tokens, and those tokens."""
    places = np.flatnonzero(np.pad(labels[:, 1:], ((0, 0), (0, 1)), constant_values=IGNORED) != IGNORED)
    targets = labels.reshape(-1)[places + 1].astype(np.int64)
    padding = (0, -len(places) % _COUNT_STEP)
    return np.pad(places, padding), np.pad(targets, padding, constant_values=IGNORED)


class Stepper:
    """Computes in bfloat16, but keeps the weights in float32, because small updates would be lost in fewer bits."""

    def __init__(self, model: LlamaForCausalLM, *, compiled: bool) -> None:
        self._device = model.device
        self._compiled = compiled
        self._weights = list(model.parameters())
        self._masters = [torch.nn.Parameter(weight.detach().float().clone()) for weight in self._weights]
        for weight in self._weights:
            # Not model.bfloat16(), which would also round the frequencies of the rotary embedding.
            weight.data = weight.data.bfloat16()
        self._optimizer = torch.optim.AdamW(self._masters, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        if compiled:  # once for each row length
            self._loss: Loss = torch.compile(mean_loss(model), dynamic=False)
        else:
            fuse_norms(model)
            self._loss = mean_loss(model)

    def step(self, batch: Batch, learning_rate: float) -> torch.Tensor:
        """Learn from one batch. Returns its loss in nats per learned token, which the device may still be computing."""
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
        """The array on the device, copied asynchronously while the device keeps computing."""
        tensor = torch.from_numpy(array).long()
        return tensor.pin_memory().to(self._device, non_blocking=True) if self._device.type == "cuda" else tensor

    def _publish(self) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list[torch.Tensor](self._weights), list[torch.Tensor](self._masters))

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, apart from its batch."""
        return {"weights": [master.detach() for master in self._masters], "optimizer": self._optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state`."""
        with torch.no_grad():
            torch._foreach_copy_(list[torch.Tensor](self._masters), state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._publish()
