"""What a step has to read and compute, by the shape of the model alone: the bounds of a roofline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from transformers import PretrainedConfig

from app.model.kv_cache import LayerShape
from app.model.loading.tracing import run_without_weights, trace_layers


class Stored(Protocol):
    """Gives the bytes that an `[outputs, inputs]` matrix takes in the memory it is read from."""

    def __call__(self, outputs: int, inputs: int, is_head: bool) -> int: ...


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """One layer's attention: its number of query heads, and what it stores."""

    num_heads: int
    stored: LayerShape

    def visible(self, context: int) -> int:
        return context if self.stored.window is None else min(context, self.stored.window)


@dataclass(frozen=True, slots=True)
class ModelCost:
    """Counts of weights, and the bytes that they take in memory; methods give bytes and floating-point operations.

    `dense`: the matrices that every token is multiplied with, without the head. `head`: the matrix that gives the
    logits. `experts`: the matrices of all experts together; a token is routed to `experts_per_token` of `num_experts`.
    Embeddings, norms, biases, softmax and rotation are left out, since they are small.
    """

    dense: int
    head: int
    experts: int
    num_experts: int
    experts_per_token: int
    layers: tuple[AttentionShape, ...]
    dense_bytes: int
    head_bytes: int
    experts_bytes: int

    def weight_bytes(self, num_tokens: int) -> float:
        """Bytes of weights that a step of `num_tokens` reads, if tokens are routed to experts uniformly."""
        if not self.experts:
            return self.dense_bytes + self.head_bytes
        missed = (1 - self.experts_per_token / self.num_experts) ** num_tokens
        return self.dense_bytes + self.head_bytes + self.experts_bytes * (1 - missed)

    def cache_elements(self, contexts: Iterable[int]) -> int:
        """Elements of keys and values that one decode row per context reads; a context includes the new token."""
        return sum(layer.visible(context) * layer.stored.num_elements for context in contexts for layer in self.layers)

    def operations(self, contexts: Sequence[int], num_logits: int) -> float:
        """Multiplications and additions of a step with one token for each of these context lengths.

        In the last layer, only the last `num_logits` tokens count: of the others it computes just keys and values.
        That layer is taken to be as large as the others.
        """
        active = self.dense + (self.experts * self.experts_per_token / self.num_experts if self.experts else 0)
        *layers, last = self.layers
        times = len(contexts) * len(layers) + num_logits
        attended = _attended(layers, contexts) + _attended([last], contexts[len(contexts) - num_logits :])
        return 2 * (times * active / len(self.layers) + num_logits * self.head + attended)


def _attended(layers: Iterable[AttentionShape], contexts: Sequence[int]) -> int:
    """Multiplications of queries with keys, and of attention weights with values."""
    return sum(
        layer.visible(context) * layer.num_heads * (layer.stored.key_size + layer.stored.value_size)
        for layer in layers
        for context in contexts
    )


def cost_of(config: PretrainedConfig, stored: Stored) -> ModelCost:
    """Count on the meta device, where nothing is loaded or computed. `stored` says how matrices lie in memory."""
    model, recorder = run_without_weights(config, _Recorder)
    head = model.get_output_embeddings().weight
    aside = {id(head), *(id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding))}
    matrices = [weight for weight in model.parameters() if id(weight) not in aside]
    experts = [weight for weight in matrices if weight.dim() == 3]  # transformers stacks the experts of a layer
    dense = [weight for weight in matrices if weight.dim() == 2]
    return ModelCost(
        dense=sum(weight.numel() for weight in dense),
        head=head.numel(),
        experts=sum(weight.numel() for weight in experts),
        num_experts=len(experts[0]) if experts else 0,
        experts_per_token=config.num_experts_per_tok if experts else 0,
        layers=tuple(AttentionShape(*pair) for pair in zip(recorder.num_heads, trace_layers(config), strict=True)),
        dense_bytes=sum(stored(weight.shape[0], weight.shape[1], is_head=False) for weight in dense),
        head_bytes=stored(head.shape[0], head.shape[1], is_head=True),
        experts_bytes=sum(len(weight) * stored(weight.shape[1], weight.shape[2], is_head=False) for weight in experts),
    )


def stored_plainly(dtype: torch.dtype) -> Stored:
    """Matrices as torch holds them."""
    return lambda outputs, inputs, is_head: outputs * inputs * dtype.itemsize  # noqa: ARG005


@dataclass(slots=True)
class _Recorder:
    """Stands in for attention, and notes the number of query heads of every layer."""

    num_heads: list[int] = field(default_factory=list)

    def __call__(
        self,
        module: torch.nn.Module,  # noqa: ARG002
        query: torch.Tensor,
        key: torch.Tensor,  # noqa: ARG002
        value: torch.Tensor,
        **_: Any,
    ) -> torch.Tensor:
        self.num_heads.append(query.shape[1])
        return query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])
