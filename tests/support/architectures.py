"""Small models of every causal architecture that transformers has, by shrinking its defaults."""

from __future__ import annotations

from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY, POSITIONS = 96, 128
#: Architectures by the type of their config
KINDS = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
#: A model with more parameters would be slow to build
LARGEST = 20_000_000
#: Those that need packages or sections of their own to be small
NOT_BUILT = """
    blt dbrx dots3_note dots3_note_text gemma3n gemma4_assistant gemma4_unified_assistant musicgen
    musicgen_melody
""".split()

_NAMES: dict[int, str] = {
    VOCABULARY: "vocab_size decoder_vocab_size vocab_size_per_layer_input",
    POSITIONS: """max_position_embeddings n_positions n_ctx model_max_length max_seq_len
        max_target_positions context_length""",
    32: """hidden_size d_model n_embd embedding_size emb_dim attention_hidden_size lru_width
        word_embed_proj_dim embedding_dim input_embedding_size output_embedding_size""",
    48: """intermediate_size n_inner moe_intermediate_size ffn_dim decoder_ffn_dim encoder_ffn_dim
        dff dim_ff d_inner ffn_hidden_size expert_ffn_hidden_size dense_intermediate_size
        shared_expert_intermediate_size shared_intermediate_size intermediate_size_mlp
        shared_experts_intermediate_size feed_forward_size
        moe_shared_expert_intermediate_size""",
    4: """num_attention_heads n_head n_heads decoder_attention_heads encoder_attention_heads
        num_decoder_attention_heads num_encoder_attention_heads num_heads attention_heads
        swa_num_attention_heads num_experts n_routed_experts num_local_experts moe_num_experts
        n_mamba_heads mamba_n_heads num_query_groups zero_expert_num""",
    2: """num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers
        num_decoder_layers num_encoder_layers num_blocks num_key_value_heads num_kv_heads
        swa_num_key_value_heads num_experts_per_tok
        num_experts_per_token moe_topk moe_k linear_num_key_heads linear_num_value_heads
        index_n_heads hidden_size_per_layer_input""",
    1: """n_group topk_group num_shared_experts n_shared_experts first_k_dense_replace
        num_dense_layers num_expert_group num_nextn_predict_layers
        n_groups""",
    8: """head_dim kv_lora_rank q_lora_rank qk_rope_head_dim qk_nope_head_dim v_head_dim
        index_head_dim linear_key_head_dim linear_value_head_dim linear_head_dim swa_head_dim
        d_head attention_head_size kv_channels dim_head rotary_dim laurel_rank adapter_rank
        attention_window_size chunk_size mamba_chunk_size attention_chunk_size d_rel rel_extent
        mamba_d_state state_size ssm_state_size""",
    0: "num_kv_shared_layers",
    64: "mamba_d_ssm",
    16: "mamba_d_head mamba_headdim attention_head_dim",
    6: "sliding_window sliding_window_size",
}
SMALL = {name: size for size, names in _NAMES.items() for name in names.split()}
#: Lists of these names follow from the number of layers
DERIVED = """
    layer_types mlp_layer_types indexer_types layers_block_type no_rope_layers per_layer_config
    activation_sparsity_pattern num_attention_heads_per_layer attention_layers id2label label2id
    transformers_version
""".split()
#: What some forwards do with logits, by the names of the keys
AFTER_HEAD = {
    "final_logit_softcapping": 2.0,
    "logits_soft_cap": 2.0,
    "output_logit_soft_cap": 2.0,
    "logit_scale": 0.6,
    "logits_scaling": 1.7,
    "lm_head_multiplier": 0.6,
    "output_multiplier": 0.6,
    "logits_mup_width_multiplier": 1.7,
    "unpadded_vocab_size": 90,
}
#: What else an architecture needs to be small, or to show what it does after its decoder
OWN: dict[str, dict[str, Any]] = {
    "blt": {"encoder_hash_byte_group_vocab": 500},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 6},
    "cohere_compass_text": {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10_000.0}
            for kind in ("full_attention", "sliding_attention")
        }
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots3_note_text": {"head_dim": 16},
    "longcat_flash": {"qk_head_dim": 16},
    "reformer": {"axial_pos_embds_dim": (16, 16), "axial_pos_shape": (8, 16)},
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"head_dim": 16},
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "xlm": {"causal": True},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"attention_hidden_size": 64, "n_mamba_heads": 2, "num_hidden_layers": 12},
    "zamba2": {
        "hybrid_layer_ids": [1],
        "attention_hidden_size": 64,
        "layer_types": ["mamba", "hybrid"],
    },
    "zaya": {"num_experts_per_tok": 1},
}


def shrunk(given: dict[str, Any]) -> dict[str, Any]:
    """A config with small sizes, its sections too."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        if key in DERIVED or key == "model_type":
            continue
        if isinstance(value, dict) and "model_type" in value:
            found[key] = shrunk(value) | {"model_type": value["model_type"]}
        elif key.endswith("token_id") and isinstance(value, int):
            found[key] = min(value, 3)
        elif key == "is_decoder":
            found[key] = True
        elif key in AFTER_HEAD:
            found[key] = AFTER_HEAD[key]
        elif key in SMALL and isinstance(value, int | float | list):
            found[key] = SMALL[key]
        else:
            found[key] = value
    if found.get("kv_lora_rank"):
        found["num_key_value_heads"] = found["num_attention_heads"]
    return found


def config(kind: str, **more: Any) -> Any:
    """A small config of a type."""
    made = CONFIG_MAPPING[kind]
    return made(**{**shrunk(made().to_dict()), **OWN.get(kind, {}), **more})


def model(kind: str, seed: int = 0, **more: Any) -> PreTrainedModel:
    """A small model in evaluation mode, with weights wide enough for logits to differ."""
    settings = config(kind, **more)
    with torch.device("meta"):
        size = AutoModelForCausalLM.from_config(settings).num_parameters()
    if size > LARGEST:
        raise ValueError(f"{kind}: {size} parameters")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        made = AutoModelForCausalLM.from_config(settings).eval()
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    made.config.get_text_config().use_cache = False  # some caches expect more layers
    return made
