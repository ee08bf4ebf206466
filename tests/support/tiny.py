"""Tiny models and a tiny tokenizer, made on the spot and never downloaded.

Weights are drawn far wider than a fresh model's, so that logits differ enough for
caps, biases and smoothing to show.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    PhiConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from multical.data.conversations import Conversation
from multical.models.checkpoints import write_manifest

CORPUS = [
    "Question: What is the currency of France? Answer: Euro",
    "Question: What is the official language of Japan? Answer: Japanese",
    "Le franc suisse est la monnaie de la Suisse.",
    "한국의 통화는 원이다. 日本の通貨は円です。 Валюта России рубль.",
]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}

#: llama: a plain head; tied: the head is the embedding; biased: a head with a bias;
#: gemma2: soft-capped logits and attention scores; gemma3: sliding windows
KINDS = ("llama", "tied", "biased", "gemma2", "gemma3")


def tokenizer(
    chat_template: str | None = TEMPLATE, corpus: Sequence[str] = CORPUS
) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 400 tokens with bos 0, eos 1 and pad 2; it adds bos itself."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(corpus, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", made.token_to_id("<s>"))]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=made, **SPECIAL)
    fast.chat_template = chat_template
    return fast


def metaspace(corpus: Sequence[str] = CORPUS) -> PreTrainedTokenizerFast:
    """A BPE as sentencepiece trains it, of words that begin with ▁; it adds bos itself."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=200,
        special_tokens=[*SPECIAL.values(), "<unk>"],
        initial_alphabet=[*string.printable],
        show_progress=False,
    )
    made.train_from_iterator(corpus, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", made.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, **SPECIAL, unk_token="<unk>")


def config(kind: str, vocabulary: int = 400) -> Any:
    """The configuration of a tiny model of a kind in `KINDS`."""
    sizes = {**SIZES, "vocab_size": vocabulary, "tie_word_embeddings": kind != "llama"}
    gemma = {**sizes, "head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8}
    match kind:
        case "llama" | "tied":
            return LlamaConfig(**sizes)
        case "biased":
            return PhiConfig(**{**sizes, "num_key_value_heads": 2, "tie_word_embeddings": False})
        case "gemma2":
            gemma |= {"final_logit_softcapping": 3.0, "attn_logit_softcapping": 5.0}
            return Gemma2Config(**gemma)
        case "gemma3":
            return Gemma3TextConfig(**gemma)
    raise ValueError(kind)


def model(kind: str, vocabulary: int = 400, seed: int = 0) -> PreTrainedModel:
    """A tiny random model in float32 and evaluation mode, the same for the same seed."""
    return deepcopy(_model(kind, vocabulary, seed))


@cache
def _model(kind: str, vocabulary: int, seed: int) -> PreTrainedModel:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        attention = "eager" if kind == "gemma2" else "sdpa"  # as checkpoints.load has it
        made = AutoModelForCausalLM.from_config(
            config(kind, vocabulary), attn_implementation=attention
        )
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.3)
    return made.eval()


def folder(
    path: Path, kind: str = "llama", chat_template: str | None = TEMPLATE, seed: int = 0
) -> Path:
    """Write model, tokenizer and manifest as a model folder; returns the manifest's path."""
    (path / "checkpoint").mkdir(parents=True, exist_ok=True)
    for name, content in _files(kind, chat_template, seed).items():
        (path / name).write_bytes(content)
    return path / "manifest.json"


@cache
def _files(kind: str, chat_template: str | None, seed: int) -> dict[str, bytes]:
    """What a model folder holds, by names in it."""
    with TemporaryDirectory() as folder:
        path, made = Path(folder), tokenizer(chat_template)
        model(kind, len(made), seed).save_pretrained(path / "checkpoint")
        made.save_pretrained(path / "checkpoint")
        write_manifest(path / "manifest.json", path / "checkpoint", {"model": kind})
        files = filter(Path.is_file, path.rglob("*"))
        return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


def pairs(n: int = 10) -> list[Conversation]:
    """Questions and answers of different lengths."""
    return [
        {
            "id": str(i),
            "messages": [
                {"role": "user", "content": "What is " + "so " * (i % 4) + f"{i}?"},
                {"role": "assistant", "content": "Euro " * (1 + i % 3) + str(i)},
            ],
        }
        for i in range(n)
    ]
