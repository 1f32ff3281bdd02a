"""What a step reads and computes, against numbers counted by hand."""

from __future__ import annotations

import pytest

from app.model.cost import AttentionShape, ModelCost, cost_of
from tests.models import ARCHITECTURES

ATTENTION_OF_LLAMA = 64 * 64 + 2 * 64 * 32 + 64 * 64
"""Queries, keys and values of two heads of 16, output."""
LLAMA_LAYER = ATTENTION_OF_LLAMA + 3 * 64 * 96
HEAD = 64 * 128


def test_a_llamas_matrices_are_counted_and_its_embedding_and_norms_are_not() -> None:
    cost = cost_of(ARCHITECTURES["Llama"]())
    assert (cost.dense, cost.head, cost.experts) == (3 * LLAMA_LAYER, HEAD, 0)
    assert cost.layers == (AttentionShape(4, 2, 16, 16, None),) * 3


def test_positions_and_a_tied_embedding_are_not_read_but_the_head_is() -> None:
    """GPT-2 looks its positions up, and its head is its embedding."""
    cost = cost_of(ARCHITECTURES["GPT-2"]())
    assert (cost.dense, cost.head) == (3 * (64 * 3 * 64 + 64 * 64 + 2 * 64 * 4 * 64), HEAD)


def test_a_step_reads_every_weight_once_and_the_keys_and_values_of_its_contexts() -> None:
    cost = cost_of(ARCHITECTURES["Llama"]())
    assert cost.weights_read(1) == cost.weights_read(9) == 3 * LLAMA_LAYER + HEAD
    assert cost.cache_elements([10, 3]) == 13 * 3 * (2 * 16 + 2 * 16)


def test_a_step_multiplies_and_adds_every_weight_for_each_token_and_attends() -> None:
    cost = cost_of(ARCHITECTURES["Llama"]())
    attended = 13 * 3 * 4 * (16 + 16)
    assert cost.operations([10, 3], num_logits=2) == 2 * (2 * 3 * LLAMA_LAYER + 2 * HEAD + attended)
    assert cost.operations([1, 2, 3], num_logits=1) == 2 * (3 * 3 * LLAMA_LAYER + HEAD + 6 * 3 * 4 * 32)


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
    assert cost.weights_read(1) == cost.dense + HEAD + experts / 2
    assert cost.weights_read(2) == cost.dense + HEAD + experts * 3 / 4
    assert cost.operations([1], 0) == 2 * (cost.dense + experts / 2 + 3 * 4 * 32)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_that_is_served_has_its_cost(architecture: str) -> None:
    config = ARCHITECTURES[architecture]()
    cost = cost_of(config)
    assert isinstance(cost, ModelCost)
    assert len(cost.layers) == config.num_hidden_layers
    assert min(cost.dense, cost.head) > 0
