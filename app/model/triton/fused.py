"""A Llama-like decoder in few kernels: ten a layer, where transformers' modules take fifty.

A step of a small model is bound by how many kernels it has: each takes microseconds, however little it does. So the
projections of a layer that read the same are one product, and what lies between products is one kernel each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from app.model.inputs import ForwardBatch
from app.model.kv_cache import KVCache, LayerShape
from app.model.llama_like import is_llama_like, window_of
from app.model.triton.attention import Options, attend
from app.model.triton.batch import DeviceBatch
from app.model.triton.small_kernels import add_norm_kernel, rotate_and_store_kernel, silu_multiply_kernel


def applies(config: PretrainedConfig, layers: list[LayerShape]) -> bool:
    """Whether this computes what the model's modules do."""
    return is_llama_like(config) and all(
        layer.key_size == layer.value_size and layer.key_size % 2 == 0 for layer in layers
    )


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights `[outputs, inputs]`: `qkv` those of queries, keys and values, `gate_up` those of the gates and of what
    they let through."""

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
    """Takes the layers out of the model that it is made from, one by one, so that no two copies of all weights are in
    memory at any time."""

    name = "triton"

    def __init__(self, model: PreTrainedModel, cache: KVCache, max_model_len: int) -> None:
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
        positions = torch.arange(max_model_len, device=model.device)[None]
        cosines, sines = decoder.rotary_emb(torch.zeros(1, device=model.device), positions)
        half = self._head_size // 2  # the other half is the same again
        self._cosines, self._sines = (table[0, :, :half].float().contiguous() for table in (cosines, sines))
        self._layers = [_take_layer(decoder.layers, index) for index in range(len(decoder.layers))]

    @property
    def weight_bytes(self) -> int:
        weights = {self._embedding, self._head, self._final_norm}
        for layer in self._layers:
            weights |= {getattr(layer, name) for name in Layer.__slots__}
        return sum(weight.nbytes for weight in weights if isinstance(weight, torch.Tensor))

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        return self.run(DeviceBatch.of(batch))

    def run(self, batch: DeviceBatch) -> torch.Tensor:
        """Logits `[num_logits, vocab]` of one step; its keys and values are in the cache."""
        residual = F.embedding(batch.input_ids, self._embedding)
        delta = None
        for index, layer in enumerate(self._layers):
            normed = add_norm(residual, delta, layer.input_norm, self._epsilon)
            delta = self._attend(index, layer, normed, batch)
            normed = add_norm(residual, delta, layer.post_norm, self._epsilon)
            delta = F.linear(silu_multiply(F.linear(normed, layer.gate_up)), layer.down)
        normed = add_norm(residual, delta, self._final_norm, self._epsilon)
        return F.linear(normed[batch.logits_indices], self._head)

    def _attend(self, index: int, layer: Layer, normed: torch.Tensor, batch: DeviceBatch) -> torch.Tensor:
        keys, values = self._cache.keys[index], self._cache.values[index]
        num_all_heads = self._num_heads + 2 * self._num_kv_heads
        qkv = F.linear(normed, layer.qkv, layer.qkv_bias).view(-1, num_all_heads, self._head_size)
        rotate_and_store_kernel[(len(qkv), num_all_heads)](
            qkv,
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
            HAS_NORMS=layer.query_norm is not None,
            num_warps=1,
        )
        attended = attend(qkv[:, : self._num_heads], keys, values, batch, layer.options)
        return F.linear(attended.flatten(1), layer.output, layer.output_bias)


def _take_layer(layers: nn.ModuleList, index: int) -> Layer:
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
        options=Options(attention.scaling, window=window_of(attention)),
    )


def _norm_weight(attention: Any, name: str) -> torch.Tensor | None:
    norm = getattr(attention, name, None)
    return None if norm is None else norm.weight


def add_norm(residual: torch.Tensor, delta: torch.Tensor | None, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """The norm of `[num_tokens, size]` residuals, to which `delta` has been added in place."""
    num_tokens, size = residual.shape
    normed = torch.empty_like(residual)
    padded = triton.next_power_of_2(size)
    add_norm_kernel[(num_tokens,)](
        residual,
        delta,
        weight,
        normed,
        epsilon,
        SIZE=size,
        PADDED=padded,
        HAS_DELTA=delta is not None,
        num_warps=min(16, max(1, padded // 512)),
    )
    return normed


def silu_multiply(gate_up: torch.Tensor) -> torch.Tensor:
    """`silu(gate) * up` of `[num_tokens, gate and up]`."""
    num_tokens, size = gate_up.shape[0], gate_up.shape[1] // 2
    activated = gate_up.new_empty(num_tokens, size)
    tile = min(1024, triton.next_power_of_2(size))
    silu_multiply_kernel[(num_tokens, triton.cdiv(size, tile))](gate_up, activated, SIZE=size, TILE=tile)
    return activated
