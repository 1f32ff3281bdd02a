"""The shape of the embedded model: a small Llama, so that any engine for Llama runs it."""

from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from app.demo.initialization import initialize
from app.demo.tokenizer import END_OF_TEXT, MESSAGE_END

CONTEXT_LENGTH = 1024
VOCAB_SIZE = 4096
HEAD_DIM = 64


def build_network(
    tokenizer: PreTrainedTokenizerFast, *, hidden_size: int, num_layers: int, attention: str = "sdpa"
) -> LlamaForCausalLM:
    """A fresh model with random weights and two query heads to each key-value head."""
    vocabulary = tokenizer.get_vocab()
    end_of_text, message_end = vocabulary[END_OF_TEXT], vocabulary[MESSAGE_END]
    heads = hidden_size // HEAD_DIM
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=hidden_size,
        intermediate_size=hidden_size * 11 // 4,
        num_hidden_layers=num_layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        head_dim=HEAD_DIM,
        max_position_embeddings=CONTEXT_LENGTH,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=[end_of_text, message_end],
        pad_token_id=end_of_text,
    )
    config._attn_implementation = attention
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=[end_of_text, message_end],
        pad_token_id=end_of_text,
        do_sample=True,
        temperature=0.5,
        top_p=0.95,
        max_length=CONTEXT_LENGTH,
    )
    initialize(model)
    return model
