"""One step of the training: loss of packed rows in bfloat16, update of weights in float32."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

from app.demo.packing import IGNORED, Batch

_COUNT_STEP = 128
"""Learned tokens are padded to a multiple of this: oneDNN keeps a product of its own for every number of rows, and a
long run would gather gigabytes of them."""

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def packed_mask(position_ids: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`[rows, 1, length, length]`, to be added to scores: a token sees itself and what is before it in its document."""
    document = (position_ids == 0).cumsum(1)
    length = position_ids.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=position_ids.device).tril()
    visible = causal & (document[:, :, None] == document[:, None, :])
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, -torch.inf)[:, None]


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


class Stepper:
    """Computes in bfloat16, but keeps the weights in float32: small updates would be lost in fewer bits."""

    def __init__(self, model: LlamaForCausalLM, *, compiled: bool) -> None:
        self._masters = [torch.nn.Parameter(weight.detach().float().clone()) for weight in model.parameters()]
        self._weights = list(model.bfloat16().parameters())
        self._optimizer = torch.optim.AdamW(self._masters, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        # One compiled form for each row length.
        self._loss: Loss = torch.compile(mean_loss(model), dynamic=False) if compiled else mean_loss(model)

    def step(self, batch: Batch, learning_rate: float) -> float:
        """Learn from one batch; returns its loss in nats per learned token."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        rows, columns = torch.nonzero(batch.labels[:, 1:] != IGNORED, as_tuple=True)
        padding = (0, -len(rows) % _COUNT_STEP)
        places = functional.pad(rows * batch.labels.shape[1] + columns, padding)
        targets = functional.pad(batch.labels[rows, columns + 1], padding, value=IGNORED)
        for counted in (places, targets):
            torch._dynamo.mark_dynamic(counted, 0)
        loss = self._loss(batch.input_ids, batch.position_ids, places, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        for master, weight in zip(self._masters, self._weights, strict=True):
            assert weight.grad is not None
            master.grad, weight.grad = weight.grad.float(), None
        torch.nn.utils.clip_grad_norm_(self._masters, 1.0)
        self._optimizer.step()
        self._publish()
        return loss.item()

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
