"""A Llama-like decoder in few kernels: seven to ten a layer, where transformers' modules take fifty.

The number of kernels bounds the step of a small model: each takes microseconds, however little it does. So projections
of a layer that share their input are one product, and what lies between two products is one kernel, or part of one of
the products (`products.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from app.model import llama_like
from app.model.device_batch import DeviceBatch
from app.model.inputs import ForwardBatch
from app.model.kv_cache import KVCache, LayerShape
from app.model.llama_like import check_weights, rotary_tables
from app.model.triton.attention import NewTokens, Options, attend
from app.model.triton.launch import launch_options
from app.model.triton.products import add_product, gated_of_norm, of_norm
from app.model.triton.sampling import sample_tokens
from app.model.triton.small_kernels import rotate_and_store_kernel
from app.scheduler.batch import Sampled

HEADS_AT_ONCE = 8
"""Heads of one token that a program of the kernel handles, those of queries, keys and values together."""


def unsupported_reason(config: PretrainedConfig, layers: list[LayerShape]) -> str | None:
    """Why this would not compute what the model's modules do; None if it does."""
    if all(layer.key_size == layer.value_size and layer.key_size % 2 == 0 for layer in layers):
        return llama_like.unsupported_reason(config)
    return "its keys and values do not have the same, even size"


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights `[outputs, inputs]`: `qkv` stacks those of queries, keys and values, `gate_up` those of the gate and up
    projections."""

    input_norm: torch.Tensor
    qkv: torch.Tensor
    qkv_bias: torch.Tensor | None
    query_norm: torch.Tensor | None
    key_norm: torch.Tensor | None
    output: torch.Tensor
    output_bias: torch.Tensor | None
    post_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor
    options: Options


class FusedDecoder:
    """Removes the layers from the model that it is made from, one by one, so that memory never holds two copies of all
    weights."""

    name = "triton"

    def __init__(self, model: PreTrainedModel, cache: KVCache, max_model_len: int) -> None:
        """Raises UnsupportedModel for quantised weights."""
        check_weights(model, cache.dtype)
        decoder: Any = model.model
        attention = decoder.layers[0].self_attn
        self._cache = cache
        self._num_heads: int = model.config.num_attention_heads
        self._num_kv_heads: int = model.config.num_key_value_heads
        self._head_size: int = attention.head_dim
        self._epsilon: float = model.config.rms_norm_eps
        self._embedding: torch.Tensor = decoder.embed_tokens.weight
        self._head: torch.Tensor = model.lm_head.weight
        self._final_norm: torch.Tensor = decoder.norm.weight
        half = self._head_size // 2  # the second half repeats the first
        self._cosines, self._sines = (table[:, :half].contiguous() for table in rotary_tables(model, max_model_len))
        self._layers = [_take_layer(decoder.layers, index, shape.window) for index, shape in enumerate(cache.layers)]

    @property
    def weight_bytes(self) -> int:
        weights = {self._embedding, self._head, self._final_norm}
        for layer in self._layers:
            weights |= {getattr(layer, name) for name in Layer.__slots__}
        return sum(weight.nbytes for weight in weights if isinstance(weight, torch.Tensor))

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        return self.run(DeviceBatch.of(batch))

    def sample(self, logits: torch.Tensor, sequences: list[Sampled]) -> torch.Tensor:
        return sample_tokens(logits, sequences)

    def run(self, batch: DeviceBatch) -> torch.Tensor:
        """Logits `[num_logits, vocab]` of one step; its keys and values are in the cache."""
        residual = F.embedding(batch.input_ids, self._embedding)
        epsilon = self._epsilon
        for index, layer in enumerate(self._layers):
            qkv = of_norm(residual, layer.input_norm, epsilon, layer.qkv, layer.qkv_bias)
            attended = self._attend(index, layer, qkv, batch)
            if layer is self._layers[-1] and not batch.is_decode:  # other tokens need keys and values only
                residual, attended = residual[batch.logits_indices], attended[batch.logits_indices]
            add_product(residual, attended, layer.output, layer.output_bias)
            activated = gated_of_norm(residual, layer.post_norm, epsilon, layer.gate_up)
            add_product(residual, activated, layer.down)
        return of_norm(residual, self._final_norm, epsilon, self._head)

    def _attend(self, index: int, layer: Layer, qkv: torch.Tensor, batch: DeviceBatch) -> torch.Tensor:
        """Attention over `[num_tokens, queries, keys and values]`. Returns `[num_tokens, outputs of all heads]`."""
        keys, values = self._cache.keys[index], self._cache.values[index]
        num_all_heads = self._num_heads + 2 * self._num_kv_heads
        heads = qkv.view(-1, num_all_heads, self._head_size)
        rotate_and_store_kernel[(len(heads), triton.cdiv(num_all_heads, HEADS_AT_ONCE))](
            heads,
            layer.query_norm,
            layer.key_norm,
            self._cosines,
            self._sines,
            batch.positions,
            batch.slot_mapping,
            keys,
            values,
            self._epsilon,
            NUM_HEADS=self._num_heads,
            NUM_KV_HEADS=self._num_kv_heads,
            SIZE=self._head_size,
            HALF=self._head_size // 2,
            HALF_PADDED=triton.next_power_of_2(self._head_size // 2),
            TILE_H=HEADS_AT_ONCE,
            HAS_NORMS=layer.query_norm is not None,
            num_warps=4,
            **launch_options(heads.device),
        )
        query, *new = heads.split_with_sizes([self._num_heads, self._num_kv_heads, self._num_kv_heads], 1)
        return attend(query, NewTokens(*new), keys, values, batch, layer.options).flatten(1)


def _take_layer(layers: nn.ModuleList, index: int, window: int | None) -> Layer:
    layer: Any = layers[index]
    layers[index] = nn.Identity()
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    biases = [projection.bias for projection in projections if projection.bias is not None]
    return Layer(
        input_norm=layer.input_layernorm.weight,
        qkv=torch.cat([projection.weight for projection in projections]),
        qkv_bias=torch.cat(biases) if biases else None,
        query_norm=_norm_weight(attention, "q_norm"),
        key_norm=_norm_weight(attention, "k_norm"),
        output=attention.o_proj.weight,
        output_bias=attention.o_proj.bias,
        post_norm=layer.post_attention_layernorm.weight,
        gate_up=torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight)),
        down=mlp.down_proj.weight,
        options=Options(attention.scaling, window=window),
    )


def _norm_weight(attention: Any, name: str) -> torch.Tensor | None:
    norm = getattr(attention, name, None)
    return None if norm is None else norm.weight
