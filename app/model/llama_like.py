"""Models that we compute ourselves: they differ in norms of queries and keys, biases and windows alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, MistralConfig, PretrainedConfig, Qwen2Config, Qwen3Config

from app.model.support import UnsupportedModel

ARCHITECTURES = (LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config)


def is_llama_like(config: PretrainedConfig) -> bool:
    return type(config) in ARCHITECTURES and config.hidden_act == "silu" and not getattr(config, "mlp_bias", False)


def check_weights(model: Any, dtype: torch.dtype) -> None:
    """Raises UnsupportedModel unless every matrix that kernels will read is what they take it for.

    A quantised module has a `weight`, too, of another dtype or another shape, or of a tensor's subclass.
    """
    for name, module, shape in _matrices(model):
        weight, bias = module.weight, getattr(module, "bias", None)
        is_plain = type(module) in (nn.Linear, nn.Embedding) and type(weight) is nn.Parameter
        if not is_plain or (weight.dtype, tuple(weight.shape)) != (dtype, shape):
            raise UnsupportedModel(
                f"{name} is a {type(module).__name__} with {_described(weight.dtype, weight.shape)}, and the kernels "
                f"read plain matrices of {_described(dtype, shape)}: use a checkpoint whose weights are not quantised"
            )
        if bias is not None and (bias.dtype, tuple(bias.shape)) != (dtype, shape[:1]):
            raise UnsupportedModel(
                f"the bias of {name} is {_described(bias.dtype, bias.shape)}, and not {_described(dtype, shape[:1])}"
            )


def _matrices(model: Any) -> Iterator[tuple[str, Any, tuple[int, int]]]:
    """Each module with a matrix, by its name, and the shape `[outputs, inputs]` that the configuration gives it."""
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


def _described(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    return f"{str(dtype).removeprefix('torch.')} {list(shape)}"
