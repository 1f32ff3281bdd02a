"""The shape of the embedded model: a small Llama, so that any engine for Llama runs it."""

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from app.demo.tokenizer import END_OF_TEXT, MESSAGE_END

CONTEXT_LENGTH = 1024
VOCAB_SIZE = 3072
HEAD_DIM = 32
# About one over the square root of the width: after 300,000 tokens the loss is 1.5, with the usual 0.02 it is 3.3.
INITIALIZER_RANGE = 0.06


def build_network(
    tokenizer: PreTrainedTokenizerFast, *, hidden_size: int = 192, num_layers: int = 6
) -> LlamaForCausalLM:
    """A fresh model with random weights and three query heads to each key-value head."""
    vocabulary = tokenizer.get_vocab()
    end_of_text, message_end = vocabulary[END_OF_TEXT], vocabulary[MESSAGE_END]
    heads = hidden_size // HEAD_DIM
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=hidden_size,
        intermediate_size=hidden_size * 8 // 3,
        num_hidden_layers=num_layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 3,
        head_dim=HEAD_DIM,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        initializer_range=INITIALIZER_RANGE,
        bos_token_id=None,
        eos_token_id=[end_of_text, message_end],
        pad_token_id=end_of_text,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=[end_of_text, message_end], pad_token_id=end_of_text)
    # Every layer starts by adding nothing, so that at first the embedding of a token passes through undisturbed.
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    return model
