"""Tiny random models as the hub has the real ones of paper 1 and lite, for `hub_server`.

Files, configurations and the kinds of tokenizers are those of the real repositories, with the
clutter that need not be downloaded; only sizes are small, vocabularies a few hundred tokens,
and weights drawn at random. The same bytes each time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import safetensors.torch
import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoConfig, AutoModelForCausalLM

from support.hub_repos import SCRIPTS, Files

CORPUS = [
    "What is the capital of France? Answer: Paris. How much is 2 plus 2? It is 4.",
    "Which of the following is the official language of the country?",
    *(f"{word}: {word}" for word in SCRIPTS.values()),
]
ASCII = [chr(code) for code in range(33, 127)]
#: The pattern that Llama 3 cuts text by
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
#: How the text around a special token is treated: not at all
PLAIN = ["lstrip", "normalized", "rstrip", "single_word"]
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def mistral() -> Files:
    """Mistral 7B v0.1: sliding window, a head of its own, bfloat16; no pad token."""
    made = sentencepiece(["<unk>", "<s>", "</s>"])
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    unspaced = decoders.Strip(content=" ", left=1)
    made.decoder = decoders.Sequence([*SENTENCEPIECE, unspaced])
    made.post_processor = begin("<s>", made)
    config = {
        "architectures": ["MistralForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 32768,
        "model_type": "mistral",
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "sliding_window": 4096,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.34.0.dev0",
        "use_cache": True,
    }
    about = {
        "additional_special_tokens": [],
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "legacy": True,
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": None,
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }
    clutter = {f"pytorch_model-0000{i}-of-00002.bin": b"pickled" for i in (1, 2)}
    return {
        **repository(made, config, about, shards=2, seed=1),
        **clutter,
        "pytorch_model.bin.index.json": b"{}",
        "tokenizer.model": b"not read where there is a tokenizer.json",
    }


def llama() -> Files:
    """Llama 3.1 8B: byte-level BPE, rotary positions of the llama3 kind; no pad token."""
    made = Tokenizer(models.BPE(ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_3), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    first = made.get_vocab_size()
    special = ["<|begin_of_text|>", "<|end_of_text|>"]
    special += [f"<|reserved_special_token_{i}|>" for i in range(6)]
    made.add_special_tokens([AddedToken(name, normalized=False) for name in special])
    bytewise = processors.ByteLevel(trim_offsets=True)
    made.post_processor = processors.Sequence([bytewise, begin(special[0], made)])
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": first,
        "eos_token_id": first + 1,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "model_type": "llama",
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.43.0.dev0",
        "use_cache": True,
    }
    about = {
        "bos_token": special[0],
        "clean_up_tokenization_spaces": True,
        "eos_token": special[1],
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 131072,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    return {
        **repository(made, config, about, shards=2, seed=2),
        "LICENSE": b"made up\n",
        "USE_POLICY.md": b"made up\n",
        "original/consolidated.00.pth": b"pickled",
        "original/params.json": b"{}",
        "original/tokenizer.model": b"of tiktoken",
    }


def gemma() -> Files:
    """Gemma 2 2B: soft caps, sliding windows in every other layer, the head its embedding."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    made = sentencepiece(special)
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence(SENTENCEPIECE)
    made.post_processor = begin("<bos>", made)
    config = {
        "architectures": ["Gemma2ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": 50.0,
        "bos_token_id": 2,
        "cache_implementation": "hybrid",
        "eos_token_id": 1,
        "final_logit_softcapping": 30.0,
        "head_dim": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "initializer_range": 0.02,
        "max_position_embeddings": 8192,
        "model_type": "gemma2",
        "pad_token_id": 0,
        "query_pre_attn_scalar": 16,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "sliding_window": 4096,
        "torch_dtype": "float32",
        "transformers_version": "4.42.4",
        "use_cache": True,
    }
    about = {
        "add_bos_token": True,
        "add_eos_token": False,
        "additional_special_tokens": special[5:],
        "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<eos>",
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": "<pad>",
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }
    return {
        **repository(made, config, about, shards=3, seed=3),
        "tokenizer.model": b"not read where there is a tokenizer.json",
    }


def qwen() -> Files:
    """Qwen3 0.6B Base: byte-level BPE, norms of queries and keys, tied; it pads with its end."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_3.replace("{1,3}", "")), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    first = made.get_vocab_size()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made.add_special_tokens([AddedToken(name, normalized=False) for name in special])
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    config = {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": first,
        "eos_token_id": first,
        "head_dim": 16,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 32768,
        "max_window_layers": 28,
        "model_type": "qwen3",
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.0",
        "use_cache": True,
        "use_sliding_window": False,
    }
    about = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "additional_special_tokens": special[1:],
        "bos_token": None,
        "chat_template": "{% for message in messages %}{{ message['content'] }}{% endfor %}",
        "clean_up_tokenization_spaces": False,
        "eos_token": special[0],
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": special[0],
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    return {**repository(made, config, about, shards=1, seed=4), "LICENSE": b"made up\n"}


#: How SentencePiece's tokens become text
SENTENCEPIECE = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]


def sentencepiece(special: list[str]) -> Tokenizer:
    """A BPE of SentencePiece's kind: characters it does not know become tokens of bytes."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=ASCII,
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    trained = json.loads(made.to_str())["model"]
    merges = [tuple(pair) for pair in trained["merges"]]
    whole = Tokenizer(
        models.BPE(
            trained["vocab"], merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True
        )
    )  # fmt: skip
    whole.add_special_tokens([AddedToken(name, normalized=False) for name in special])
    return whole


def begin(token: str, tokenizer: Tokenizer) -> Any:
    """What puts the token that begins a text before it."""
    return processors.TemplateProcessing(
        single=f"{token} $A",
        pair=f"{token} $A {token}:1 $B:1",
        special_tokens=[(token, tokenizer.token_to_id(token))],
    )


def repository(
    tokenizer: Tokenizer, config: dict[str, Any], about: dict[str, Any], shards: int, seed: int
) -> Files:
    """Tokenizer, configuration, and weights in safetensors of so many shards."""
    added = {
        str(number): {"content": token.content, "special": True, **dict.fromkeys(PLAIN, False)}
        for number, token in tokenizer.get_added_tokens_decoder().items()
    }
    names = {key: value for key, value in about.items() if key.endswith("_token") and value}
    whole = {**config, **SIZES, "vocab_size": tokenizer.get_vocab_size()}
    ids = {key: value for key, value in config.items() if key.endswith("token_id")}
    return {
        "README.md": b"---\nlibrary_name: transformers\n---\n",
        "config.json": text(whole),
        "generation_config.json": text({"_from_model_config": True, **ids}),
        "special_tokens_map.json": text(names),
        "tokenizer.json": tokenizer.to_str(pretty=True).encode(),
        "tokenizer_config.json": text({"added_tokens_decoder": added, **about}),
        **sharded(weights(whole, seed), shards),
    }


def text(value: Any) -> bytes:
    """A JSON file."""
    return (json.dumps(value, indent=2) + "\n").encode()


def weights(config: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    """Random weights, drawn wider than a fresh model's, without the head where it is tied."""
    known = AutoConfig.for_model(**config)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(known)
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.2)
    tied = model.all_tied_weights_keys
    return {
        name: value.to(getattr(torch, config["torch_dtype"])).contiguous()
        for name, value in model.state_dict().items()
        if name not in tied
    }


def sharded(tensors: dict[str, torch.Tensor], count: int) -> Files:
    """Safetensors in `count` shards, and their index if there are several."""
    if count == 1:
        return {"model.safetensors": safetensors.torch.save(tensors, {"format": "pt"})}
    names = list(tensors)
    cuts = [len(names) * i // count for i in range(count + 1)]
    files: Files = {}
    places: dict[str, str] = {}
    for number, (start, stop) in enumerate(pairwise(cuts), 1):
        shard = f"model-{number:05}-of-{count:05}.safetensors"
        own = {name: tensors[name] for name in names[start:stop]}
        files[shard] = safetensors.torch.save(own, {"format": "pt"})
        places |= dict.fromkeys(own, shard)
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    return {**files, "model.safetensors.index.json": text(index)}


#: Paper 1's models by their names at the hub, and whether they are gated there
MODELS: dict[str, tuple[Callable[[], Files], bool]] = {
    "mistralai/Mistral-7B-v0.1": (cache(mistral), False),
    "meta-llama/Llama-3.1-8B": (cache(llama), True),
    "google/gemma-2-2b": (cache(gemma), True),
}
#: The same of the study for one GPU
LITE: dict[str, tuple[Callable[[], Files], bool]] = {"Qwen/Qwen3-0.6B-Base": (cache(qwen), False)}
