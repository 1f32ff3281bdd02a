"""What a step reads and computes, against numbers counted by hand."""

from __future__ import annotations

import pytest
import torch
from transformers import PretrainedConfig

from app.model.cost import AttentionShape, ModelCost, stored_plainly
from app.model.cost import cost_of as counted
from app.model.kv_cache import LayerShape
from app.model.native.executor import stored_by_kernels
from app.model.native.library import load_library
from tests.models import ARCHITECTURES

ATTENTION_OF_LLAMA = 64 * 64 + 2 * 64 * 32 + 64 * 64
"""Queries, keys and values of two heads of 16, output."""
LLAMA_LAYER = ATTENTION_OF_LLAMA + 3 * 64 * 96
HEAD = 64 * 128


def cost_of(config: PretrainedConfig) -> ModelCost:
    return counted(config, stored_plainly(torch.bfloat16))


def test_a_llamas_matrices_are_counted_and_its_embedding_and_norms_are_not() -> None:
    cost = cost_of(ARCHITECTURES["Llama"]())
    assert (cost.dense, cost.head, cost.experts) == (3 * LLAMA_LAYER, HEAD, 0)
    assert cost.layers == (AttentionShape(4, LayerShape(2, 16, 16)),) * 3


def test_positions_and_a_tied_embedding_are_not_read_but_the_head_is() -> None:
    """GPT-2 looks its positions up, and its head is its embedding."""
    cost = cost_of(ARCHITECTURES["GPT-2"]())
    assert (cost.dense, cost.head) == (3 * (64 * 3 * 64 + 64 * 64 + 2 * 64 * 4 * 64), HEAD)


def test_a_step_reads_every_weight_once_and_the_keys_and_values_of_its_contexts() -> None:
    cost = cost_of(ARCHITECTURES["Llama"]())
    assert cost.weight_bytes(1) == cost.weight_bytes(9) == 2 * (3 * LLAMA_LAYER + HEAD)
    assert cost.cache_elements([10, 3]) == 13 * 3 * (2 * 16 + 2 * 16)


def test_a_step_multiplies_and_adds_every_weight_for_each_token_and_attends() -> None:
    cost = cost_of(ARCHITECTURES["Llama"]())
    attended = 13 * 3 * 4 * (16 + 16)
    assert cost.operations([10, 3], num_logits=2) == 2 * (2 * 3 * LLAMA_LAYER + 2 * HEAD + attended)


def test_the_last_layer_is_computed_for_tokens_whose_logits_are_wanted() -> None:
    cost = cost_of(ARCHITECTURES["Llama"]())
    layers = 2 * 3 + 1
    attended = (6 * 2 + 3) * 4 * 32
    assert cost.operations([1, 2, 3], num_logits=1) == 2 * (layers * LLAMA_LAYER + HEAD + attended)


def test_a_sliding_window_bounds_what_is_read() -> None:
    mistral, gemma = cost_of(ARCHITECTURES["Mistral"]()), cost_of(ARCHITECTURES["Gemma-3"]())
    assert mistral.cache_elements([100]) == 8 * 3 * 64
    assert gemma.cache_elements([100]) == (8 + 100 + 8) * 64


def test_of_experts_a_token_meets_some_and_a_batch_the_more_the_larger_it_is() -> None:
    cost = cost_of(ARCHITECTURES["Qwen3-MoE"]())
    experts = 3 * 4 * 3 * 64 * 32
    router = 3 * 64 * 4
    assert (cost.dense, cost.experts) == (3 * ATTENTION_OF_LLAMA + router, experts)
    assert (cost.num_experts, cost.experts_per_token) == (4, 2)
    assert cost.weight_bytes(1) == 2 * (cost.dense + HEAD + experts / 2)
    assert cost.weight_bytes(2) == 2 * (cost.dense + HEAD + experts * 3 / 4)
    assert cost.operations([1], 1) == 2 * (cost.dense + experts / 2 + HEAD + 3 * 4 * 32)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_that_is_served_has_its_cost(architecture: str) -> None:
    config = ARCHITECTURES[architecture]()
    cost = cost_of(config)
    assert isinstance(cost, ModelCost)
    assert len(cost.layers) == config.num_hidden_layers
    assert min(cost.dense, cost.head) > 0


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_the_kernels_pack_weights_without_making_them_larger(dtype: torch.dtype, size: int) -> None:
    library = load_library(dtype)
    stored = stored_by_kernels(library)
    assert stored(64, 96, is_head=False) == 64 * 96 * size
    assert stored(50, 96, is_head=True) == 64 * 96 * size, "outputs are padded to whole panels of 32"


def test_quantised_weights_are_counted_as_they_are_packed() -> None:
    sizes = []
    for quantization in ("none", "int8", "int4"):
        library = load_library(torch.bfloat16, quantization)
        sizes.append(counted(ARCHITECTURES["Llama"](), stored_by_kernels(library)).dense_bytes)
    assert 3 * LLAMA_LAYER * 2 == sizes[0] > sizes[1] > 3 * LLAMA_LAYER > sizes[2] > 3 * LLAMA_LAYER / 2
