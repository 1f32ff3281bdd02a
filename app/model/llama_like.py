"""The models that our kernels compute: they differ only in norms of queries and keys, biases and windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, MistralConfig, PretrainedConfig, Qwen2Config, Qwen3Config

from app.model.loading.support import UnsupportedModel

ARCHITECTURES = (LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config)


def unsupported_reason(config: PretrainedConfig) -> str | None:
    """Why a model is not computed as a Llama is; None if it is."""
    if type(config) not in ARCHITECTURES:
        known = ", ".join(architecture.model_type for architecture in ARCHITECTURES)
        return f"its type is {config.model_type}, and the kernels compute {known}"
    if config.hidden_act != "silu":
        return f"its activation is {config.hidden_act}, and the kernels compute silu"
    return "its MLP has biases" if getattr(config, "mlp_bias", False) else None


def check_weights(model: Any, dtype: torch.dtype) -> None:
    """Raises UnsupportedModel unless every matrix is as the kernels will read it.

    A quantised module has a `weight` too, but of another dtype or shape, or of a subclass of tensor.
    """
    for name, module, shape in _matrices(model):
        weight, bias = module.weight, getattr(module, "bias", None)
        is_plain = type(module) in (nn.Linear, nn.Embedding) and type(weight) is nn.Parameter
        if not is_plain or (weight.dtype, tuple(weight.shape)) != (dtype, shape):
            raise UnsupportedModel(
                f"{name} is a {type(module).__name__} with {_described(weight.dtype, weight.shape)}, and the kernels "
                f"read plain matrices of {_described(dtype, shape)}: use a checkpoint whose weights are not quantised"
            )
        if bias is not None:
            _check_shape(f"{name}.bias", bias, shape[:1])
    for name, weight, size in _norms(model):
        _check_shape(name, weight, (size,))


def rotary_tables(model: Any, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of positions up to `length`, float32 `[length, head_size]`. Raises UnsupportedModel."""
    positions = torch.arange(length, device=model.device)[None]
    cosines, sines = model.model.rotary_emb(torch.zeros(1, device=model.device), positions)
    for table in (cosines, sines):
        _check_shape("model.rotary_emb", table, (1, length, model.model.layers[0].self_attn.head_dim))
    return cosines[0].float(), sines[0].float()


def _check_shape(name: str, tensor: torch.Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise UnsupportedModel(
            f"{name} has the shape {list(tensor.shape)}, and by the configuration it is {list(shape)}"
        )


def _matrices(model: Any) -> Iterator[tuple[str, Any, tuple[int, int]]]:
    """Name, module and shape `[outputs, inputs]` by the configuration, of each module that holds a matrix."""
    config, decoder = model.config, model.model
    hidden, intermediate, head_size = config.hidden_size, config.intermediate_size, decoder.layers[0].self_attn.head_dim
    queries, keys = config.num_attention_heads * head_size, config.num_key_value_heads * head_size
    yield "model.embed_tokens", decoder.embed_tokens, (config.vocab_size, hidden)
    yield "lm_head", model.lm_head, (config.vocab_size, hidden)
    for index, layer in enumerate(decoder.layers):
        for name, outputs, inputs in (
            ("self_attn.q_proj", queries, hidden),
            ("self_attn.k_proj", keys, hidden),
            ("self_attn.v_proj", keys, hidden),
            ("self_attn.o_proj", hidden, queries),
            ("mlp.gate_proj", intermediate, hidden),
            ("mlp.up_proj", intermediate, hidden),
            ("mlp.down_proj", hidden, intermediate),
        ):
            yield f"model.layers.{index}.{name}", layer.get_submodule(name), (outputs, inputs)


def _norms(model: Any) -> Iterator[tuple[str, torch.Tensor, int]]:
    """Name, weight and size by the configuration, of each norm."""
    decoder, hidden = model.model, model.config.hidden_size
    yield "model.norm.weight", decoder.norm.weight, hidden
    for index, layer in enumerate(decoder.layers):
        attention = layer.self_attn
        yield f"model.layers.{index}.input_layernorm.weight", layer.input_layernorm.weight, hidden
        yield f"model.layers.{index}.post_attention_layernorm.weight", layer.post_attention_layernorm.weight, hidden
        for name in ("q_norm", "k_norm"):
            if norm := getattr(attention, name, None):
                yield f"model.layers.{index}.self_attn.{name}.weight", norm.weight, attention.head_dim


def _described(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    return f"{str(dtype).removeprefix('torch.')} {list(shape)}"
