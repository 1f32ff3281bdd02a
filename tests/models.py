"""Small random-weight models of many architectures, made the same way every time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import cache

import pytest
import torch
import transformers as tf
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from app.messages import SamplingParams
from app.model import attention
from app.model.kv_cache import KVCache
from app.model.loading.tracing import trace_layers
from app.model.modules.decoder import ModuleDecoder
from app.model.native.decoder import NativeDecoder
from app.model.native.library import load_library
from app.model.runner import Decoder, ModelRunner

VOCAB_SIZE = 128
WINDOW = 8
_SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCAB_SIZE,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": None,
    "pad_token_id": 0,
}
_ALL_HEADS = {name: value for name, value in _SHAPE.items() if name != "num_key_value_heads"}
_GPT2 = {
    "bos_token_id": 0,
    "n_embd": 64,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 256,
    "vocab_size": VOCAB_SIZE,
    "eos_token_id": None,
}

ARCHITECTURES: dict[str, Callable[[], PretrainedConfig]] = {
    "Llama": lambda: tf.LlamaConfig(**_SHAPE),
    "Qwen2": lambda: tf.Qwen2Config(**_SHAPE),
    "Qwen3": lambda: tf.Qwen3Config(**_SHAPE, head_dim=16),
    "Mistral": lambda: tf.MistralConfig(**_SHAPE, sliding_window=WINDOW),
    "Gemma-2": lambda: tf.Gemma2Config(
        **_SHAPE, head_dim=16, sliding_window=WINDOW, attn_logit_softcapping=2.0, query_pre_attn_scalar=16
    ),
    "Gemma-3": lambda: tf.Gemma3TextConfig(
        **_SHAPE,
        head_dim=16,
        sliding_window=WINDOW,
        query_pre_attn_scalar=16,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "Phi-3": lambda: tf.Phi3Config(**_SHAPE),
    "GPT-2": lambda: tf.GPT2Config(**_GPT2),
    "GPT-NeoX": lambda: tf.GPTNeoXConfig(**_ALL_HEADS),
    "OLMo-2": lambda: tf.Olmo2Config(**_SHAPE),
    "StarCoder2": lambda: tf.Starcoder2Config(**_SHAPE, sliding_window=WINDOW),
    "Qwen3-MoE": lambda: tf.Qwen3MoeConfig(
        **_SHAPE, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32
    ),
    "Mixtral": lambda: tf.MixtralConfig(**_SHAPE, num_local_experts=4),
    "gpt-oss": lambda: tf.GptOssConfig(
        **_SHAPE,
        head_dim=16,
        num_local_experts=4,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    ),
    "DeepSeek-V3": lambda: tf.DeepseekV3Config(
        **{**_SHAPE, "num_key_value_heads": 4},
        n_routed_experts=4,
        n_group=1,
        topk_group=1,
        num_experts_per_tok=2,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=12,
        moe_intermediate_size=32,
        first_k_dense_replace=1,
    ),
    "OPT": lambda: tf.OPTConfig(
        hidden_size=64, num_hidden_layers=2, ffn_dim=64, num_attention_heads=4, vocab_size=VOCAB_SIZE
    ),
}


@cache
def reference_model(architecture: str) -> PreTrainedModel:
    """transformers' own model with its own eager attention. Weights are large enough that greedy text varies."""
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        ARCHITECTURES[architecture](), dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
            elif "sinks" in name:
                parameter.normal_()
    model.generation_config.eos_token_id = None
    return model


QUICK = ("Llama", "GPT-2", "Gemma-3", "gpt-oss", "DeepSeek-V3")
"""Of the architectures those that differ most; the slow tests take all of them."""


def on_backends(native: Iterable[str]) -> pytest.MarkDecorator:
    """Every architecture on transformers' modules, and those of `native` on the fused decoder too."""
    cases = [(name, False) for name in ARCHITECTURES] + [(name, True) for name in native]
    return pytest.mark.parametrize(
        ("architecture", "native"),
        [
            pytest.param(
                name,
                is_native,
                id=name + "-native" * is_native,
                marks=[] if is_native or name in QUICK else pytest.mark.slow,
            )
            for name, is_native in cases
        ],
    )


def make_runner(
    architecture: str,
    num_blocks: int,
    block_size: int,
    native: bool = False,
    dtype: torch.dtype = torch.float32,
    quantization: str = "none",
    backend: str = "sdpa",
) -> ModelRunner:
    """The same weights on one of the backends, with a fresh cache full of garbage."""
    attention.register()
    reference = reference_model(architecture)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        copy.deepcopy(ARCHITECTURES[architecture]()), dtype=dtype, attn_implementation=attention.NAME
    ).eval()
    model.load_state_dict(reference.state_dict())
    layers = trace_layers(reference.config)
    cache = KVCache(layers, num_blocks, block_size, dtype, torch.device("cpu"))
    for blocks in (*cache.keys, *cache.values):
        blocks.fill_(torch.nan)
    decoder: Decoder = ModuleDecoder(model, cache)
    if backend == "triton":
        from app.model.triton.decoder import TritonDecoder

        decoder = TritonDecoder(model, cache)
    elif backend == "fused":
        from app.model.triton.fused import FusedDecoder

        decoder = FusedDecoder(model, cache, model.config.max_position_embeddings)
    if native:
        library = load_library(dtype, quantization)
        decoder = NativeDecoder(library, model, cache, model.config.max_position_embeddings)
    return ModelRunner(decoder, block_size, torch.device("cpu"))


@cache
def generate_alone(architecture: str, prompt: tuple[int, ...], max_tokens: int) -> list[int]:
    """What `transformers.generate` gives for this prompt alone, greedily."""
    output = reference_model(architecture).generate(
        torch.tensor([prompt]), max_new_tokens=max_tokens, do_sample=False, pad_token_id=0
    )
    return output[0, len(prompt) :].tolist()


def greedy(max_tokens: int) -> SamplingParams:
    return SamplingParams(max_tokens=max_tokens, temperature=0.0)
