"""Paper 2's own runs as config.yaml has them, shrunk until two cores make them in minutes.

A few of the models of each study stay, under their real names, from a hub and an API on
loopback; all data sets, phrasings, confidences, tables and figures stay, and all that is not
shrunk here is as the repository's own config has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from support import api_server, checkout, choice_repos, hub_models, paper_study
from support.api_server import Api
from support.hub_repos import Files
from support.hub_server import Hub

CHAT, BASE, FIVE_SHOT = "results/msp", "results/msp/base", "results/msp/five_shot"
TARGETS = [f"{CHAT}/headline.txt", f"{CHAT}/claims/verdicts.json"]
#: The models that stay
KEPT = {
    CHAT: ["llama-3.1-8b-instruct", "mistral-7b-instruct", "yi-6b-chat", "gpt-4o"],
    BASE: ["llama-3.1-8b", "mistral-7b"],
    FIVE_SHOT: ["llama-3.1-8b-instruct", "gpt-4o"],
}
#: The data sets that stay
DATASETS = {CHAT: 5, BASE: 1, FIVE_SHOT: 2}
QUESTIONS = 16
KEY = "LOOPBACK_API_KEY"

MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
CHAT_ML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chat(make: Callable[[], Files], template: str) -> Callable[[], Files]:
    """A model whose tokenizer has a chat template."""

    @cache
    def made() -> Files:
        files = dict(make())
        about = json.loads(files["tokenizer_config.json"]) | {"chat_template": template}
        return {**files, "tokenizer_config.json": hub_models.text(about)}

    return made


#: Chat models by their names at the hub, and whether they are gated there
MODELS: dict[str, tuple[Callable[[], Files], bool]] = {
    "meta-llama/Llama-3.1-8B-Instruct": (chat(hub_models.llama, LLAMA_3), True),
    "mistralai/Mistral-7B-Instruct-v0.2": (chat(hub_models.mistral, MISTRAL), True),
    "01-ai/Yi-6B-Chat": (chat(hub_models.mistral, CHAT_ML), False),
}


def serve(hub: Hub) -> None:
    """Put models and data sets on the hub, under their real names."""
    for name, (make, gated) in {**hub_models.MODELS, **MODELS}.items():
        hub.add("models", name, make(), gated)
    for kind, (repo, *_) in choice_repos.SOURCE.items():
        hub.add("datasets", repo, choice_repos.files(kind))


def config(hub: Hub, api: Api) -> dict[str, Any]:
    """The repository's config with the hub's own commits, and the three studies shrunk."""
    raw = paper_study.own_config(hub)
    for entry in raw["models"].values():
        if entry["source"]["kind"] == "api":
            entry["source"] |= {"url": api.url, "access": {"key": KEY}}
    for entry in raw["benchmarks"].values():
        if entry["source"].get("questions"):
            entry["source"]["questions"] = QUESTIONS
    for root, names in KEPT.items():
        study = raw["studies"][root]
        study["models"] = [one for one in study["models"] if one["run"] in names]
        assert len(study["models"]) == len(names), f"{root}: no longer has all of {names}"
        study["datasets"] = study["datasets"][: DATASETS[root]]
        study["bootstrap"]["replicates"] = 100  # P1 is not testable on fewer
        study["abstention"] |= {"seeds": 3, "ks": [1, 2, 5], "main_k": 5}
        study["scoring"] |= {"dtype": "float32", "quantization": "none", "batch_tokens": 1024}
    return raw


def make(folder: Path, hub: Hub, api: Api) -> Path:
    """A copy of the repository whose config is the shrunk one; returns `folder`."""
    checkout.copy(folder)
    (folder / "config.yaml").write_text(paper_study.dumped(config(hub, api)), encoding="utf-8")
    return folder


def snakemake(folder: Path, hub: Hub, *arguments: str) -> str:
    """Run Snakemake in a copy; its output, or a failed test that shows it."""
    return paper_study.snakemake(folder, hub, *arguments, **{KEY: api_server.KEY})
