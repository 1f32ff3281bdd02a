"""The numbers of the tiny checkpoints: what a field is called in one configuration or another, and what is special."""

from __future__ import annotations

from typing import Any

VOCAB_SIZE = 256
WINDOW = 16
NUM_LAYERS = 4
MAX_POSITIONS = 512

_NAMES: dict[Any, str] = {
    VOCAB_SIZE: "vocab_size vocab_size_per_layer_input",
    MAX_POSITIONS: "max_position_embeddings n_positions n_ctx max_seq_len max_sequence_length",
    64: "hidden_size d_model n_embd dim embed_dim word_embed_proj_dim lru_width",
    96: "intermediate_size ffn_dim decoder_ffn_dim encoder_ffn_dim ffn_hidden_size n_inner n_inner_dim",
    NUM_LAYERS: (
        "num_hidden_layers n_layer n_layers num_layers decoder_layers patch_size mamba_d_conv linear_conv_kernel_dim "
        "num_attention_heads n_head n_heads num_heads attention_heads decoder_attention_heads encoder_attention_heads "
        "swa_num_attention_heads linear_num_value_heads "
        "num_local_experts num_experts n_routed_experts moe_num_experts"
    ),
    2: (
        "encoder_layers depth mamba_expand num_key_value_heads swa_num_key_value_heads linear_num_key_heads "
        "num_experts_per_tok num_experts_per_token moe_k moe_topk eos_token_id"
    ),
    WINDOW: (
        "sliding_window window_size attention_window head_dim swa_head_dim q_lora_rank kv_lora_rank v_head_dim "
        "qk_head_dim query_pre_attn_scalar linear_key_head_dim linear_value_head_dim mamba_d_state mamba_d_head "
        "mamba_chunk_size mamba_head_dim ssm_state_size state_size chunk_size hidden_size_per_layer_input image_size"
    ),
    32: "moe_intermediate_size shared_expert_intermediate_size moe_shared_expert_intermediate_size projection_dim",
    8: "qk_rope_head_dim qk_nope_head_dim mamba_n_heads mamba_num_heads mamba_dt_rank laurel_rank",
    1: (
        "n_shared_experts num_shared_experts moe_num_shared_experts n_group topk_group num_expert_group "
        "first_k_dense_replace moe_layer_start_index mamba_n_groups n_groups bos_token_id"
    ),
    0: "pad_token_id",
    3: "num_channels",
    128: "mamba_d_ssm",
}

SIZES = {name: size for size, names in _NAMES.items() for name in names.split()}
"""`pad_token_id` is set, as published models have it."""

NOT_FOR_IMAGES = {name: size for name, size in SIZES.items() if name != "vocab_size"}
"""For the parts of a model that do not read text."""

TEXT_PARTS = ("text", "llm", "language", "decoder", "thinker")

_TINY = {"vocab_size": VOCAB_SIZE, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": NUM_LAYERS}
_ALTERNATING = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
_CONVOLUTIONS = ["conv", "full_attention", "conv", "full_attention"]

_ROPE = {"rope_type": "default", "rope_theta": 10000.0}

OVERRIDES: dict[str, dict[str, Any]] = {
    "gemma3_text": {"layer_types": _ALTERNATING},
    "gemma3n_text": {
        "num_kv_shared_layers": 2,
        "layer_types": _ALTERNATING,
        "activation_sparsity_pattern": [0.0] * NUM_LAYERS,
        "altup_num_inputs": 2,
        "intermediate_size": [96] * NUM_LAYERS,
    },
    "gemma4_text": {"layer_types": _ALTERNATING},
    "vaultgemma": {"layer_types": _ALTERNATING},
    "codegen": {"rotary_dim": 16},
    "gptj": {"rotary_dim": 16},
    "lfm2": {"layer_types": _CONVOLUTIONS},
    "lfm2_moe": {"layer_types": _CONVOLUTIONS, "num_dense_layers": 1},
    "cohere_compass_text": {"rope_parameters": {"full_attention": None, "sliding_attention": _ROPE}},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0}},
    "gemma4_assistant": {
        "text_config": {
            "model_type": "gemma4_text",
            **_TINY,
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 0,
        }
    },
    "longcat_flash": {"head_dim": 8},
    "xmod": {"default_language": "en_XX"},
    "mamba2": {"num_heads": 8, "head_dim": 16},
}


def _rope(**parameters: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 10000.0, **parameters}}


_WINDOW = {"use_sliding_window": True, "sliding_window": WINDOW}

VARIANTS: dict[str, dict[str, Any]] = {
    "bert@decoder": {"is_decoder": True},
    "roberta@decoder": {"is_decoder": True},
    "gpt2@no padding": {"pad_token_id": None},
    "granitemoehybrid@attention": {"layer_types": ["full_attention"] * NUM_LAYERS},
    "llama@biases": {"mlp_bias": True, "attention_bias": True},
    "llama@gelu": {"hidden_act": "gelu"},
    "llama@uneven sizes": {"hidden_size": 60, "head_dim": 30, "intermediate_size": 90, "num_key_value_heads": 1},
    "llama@linear": _rope(rope_type="linear", factor=4.0),
    "llama@llama3": _rope(
        rope_type="llama3",
        factor=8.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=32,
    ),
    "llama@yarn": _rope(rope_type="yarn", factor=8.0, original_max_position_embeddings=64),
    "mistral@no window": {"sliding_window": None},
    "qwen2@window": {**_WINDOW, "max_window_layers": 1},
    "qwen2_moe@window": {**_WINDOW, "max_window_layers": NUM_LAYERS},
    "qwen3@window": {**_WINDOW, "max_window_layers": 1},
}
"""Of types whose mask or whose backend depends on a flag."""
