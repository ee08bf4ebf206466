"""A study whose model, which is gated, benchmarks and SFT data come from a hub on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from support import checkout, hub_repos, hub_server
from support.hub_server import Hub

STUDY = "results/demo"
#: Languages of which resource_levels lists one
READ = {"eng_Latn": "en", "asm_Beng": "as", "hin_Latn": "hi-Latn"}


def source(kind: str, repo: hub_server.Repo, **more: Any) -> dict[str, Any]:
    return {"source": {"kind": kind, "repo": repo.name, "revision": repo.revision, **more}}


def questions_of(name: str, repo: hub_server.Repo, languages: Any) -> dict[str, Any]:
    """A benchmark of the repository's config, from a repository of fewer languages."""
    place = {"repo": repo.name, "revision": repo.revision, "languages": languages}
    return {"source": hub_repos.source(name, **place)}


def make(folder: Path, hub: Hub) -> Path:
    """A copy of the repository with such a config; returns `folder`."""
    from support import tiny  # here, since PyTorch takes seconds to start

    checkout.copy(folder)
    tiny.folder(folder / "made")
    model = hub.add("models", "lab/tiny", folder / "made/checkpoint", gated=True)
    mmlu = hub.add("datasets", "lab/Global-MMLU", hub_repos.global_mmlu(["en", "sw", "zh"]))
    prox = hub.add("datasets", "lab/MMLU-ProX", hub_repos.mmlu_prox(["en", "yo"]))
    belebele = hub.add("datasets", "lab/belebele", hub_repos.belebele(READ))
    hermes = hub.add("datasets", "lab/hermes", hub_repos.openhermes(40))
    raw: dict[str, Any] = checkout.config()
    raw["models"] = {"tiny": source("hub", model) | {"chat_format": "tulu"}}
    raw["benchmarks"] = {
        "mmlu": questions_of("global-mmlu", mmlu, ["en", "sw", "zh"]) | {"options": 4},
        "prox": questions_of("mmlu-prox", prox, ["yo"]) | {"options": None},
        "reading": questions_of("belebele", belebele, READ) | {"options": 4},
    }
    chosen = source("hub", hermes, layout="sharegpt", seed=1, examples=8, held_out=4)
    raw["sft_data"] = {"hermes": chosen}
    study = raw["studies"][STUDY] | {
        "models": ["tiny"], "benchmarks": ["mmlu", "prox", "reading"], "sft_data": ["hermes"]
    }  # fmt: skip
    study["figures"] |= {"benchmark": "mmlu", "sft": "hermes"}
    study["scoring"] |= {"multiple_choice_languages": ["en", "zh", "sw", "yo"]}
    raw["studies"] = {STUDY: study}
    (folder / "config.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    return folder
