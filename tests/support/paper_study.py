"""Paper 1 as config.yaml has it at paper scale, shrunk until two cores make it in minutes.

Models, data sets and benchmarks have their real names and come from a hub on loopback. All
languages, models, data sets, smoothings and figures stay, and all that is not in `SHRUNK` or
`shrink` is as the repository's own config has it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import yaml

from multical.config.schema import Config
from multical.workflow import job_params
from support import checkout, forks, hub_models, hub_repos
from support.hub_server import GOOD_TOKEN, Hub

ROOT = "results"
TARGET = f"{ROOT}/headline.txt"
#: What is small, by section of the study
SHRUNK: dict[str, dict[str, Any]] = {
    "training": {
        "batch_size": 6, "gradient_accumulation_steps": 2,
        "epochs": 1.0, "max_length": 128, "save_every": 50,
        "scale": {},  # one process, and no GPU
    },
    "scoring": {"batch_tokens": 1024, "languages_per_job": None},
}  # fmt: skip
RULES = (checkout.REPO / "rules/figures.smk").read_text("utf-8")
#: Names of all figures of a multilingual study, some with a model
FIGURES = re.findall(r'^    "(.+)": \(', RULES.split("FIGURES = {")[1].split("\n}")[0], re.M)
TRIED = 2  # learning rates
REPLICATES = 50
EXAMPLES, HELD_OUT = 12, 4


def serve(hub: Hub) -> None:
    """Put models and data sets on the hub, under their real names."""
    for name, (make, gated) in hub_models.MODELS.items():
        hub.add("models", name, make(), gated)
    for name, build in hub_repos.STUDY_1.items():
        hub.add("datasets", name, build())
    # with the question that the pinned commit has
    hub.add("datasets", "li-lab/MMLU-ProX", hub_repos.mmlu_prox(contradictory=True))


def own_config(hub: Hub) -> dict[str, Any]:
    """The repository's config with the hub's own commits, of what the hub has; small pictures."""
    raw = checkout.config()
    served = {name: repo.revision for (_, name), repo in hub.repos.items()}
    for section in ("models", "benchmarks", "sft_data"):
        for entry in raw[section].values():
            if (repo := entry["source"].get("repo")) in served:
                entry["source"]["revision"] = served[repo]
    raw["figures"]["style"] = checkout.COARSE
    return raw


def config(hub: Hub) -> dict[str, Any]:
    """The same, its study shrunk."""
    raw = own_config(hub)
    for entry in raw["sft_data"].values():
        if entry["source"]["kind"] == "hub":
            entry["source"] |= {"examples": EXAMPLES, "held_out": HELD_OUT}
    shrink(raw["studies"][ROOT])
    return raw


def shrink(study: dict[str, Any]) -> None:
    """Make what a study computes small, and no part of it missing."""
    for section, values in SHRUNK.items():
        assert values.keys() <= study[section].keys(), f"{section}: no longer has all of {values}"
        study[section] |= values
    study["training"].pop("steps", None)
    rates = study["training"]["learning_rate"]
    if isinstance(rates, list):
        study["training"]["learning_rate"] = rates[:TRIED]
    study["metrics"]["bootstrap"]["replicates"] = REPLICATES


def make(folder: Path, hub: Hub) -> Path:
    """A copy of the repository whose config is the shrunk one; returns `folder`."""
    checkout.copy(folder)
    (folder / "config.yaml").write_text(dumped(config(hub)), encoding="utf-8")
    return folder


def dumped(raw: dict[str, Any]) -> str:
    """A config as the text of its file."""
    return yaml.safe_dump(raw, sort_keys=False)


@contextmanager
def changed(file: Path, text: str) -> Iterator[None]:
    """A file with another text, until the end of the block."""
    before = file.read_text("utf-8")
    file.write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(before, encoding="utf-8")


def snakemake(folder: Path, hub: Hub, *arguments: str, **environment: str) -> str:
    """Run Snakemake in a copy; its output, or a failed test that shows it."""
    own = {"HF_TOKEN": GOOD_TOKEN, "PATH": os.environ["PATH"], **environment}
    done = forks.run(
        [*checkout.SNAKEMAKE, *arguments],
        cwd=folder,
        env=hub.environment(folder / "cache") | own | forks.environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def assert_figures(folder: Path, chosen: Config, root: str, without_culture: str) -> None:
    """Each panel has each figure, of its own data, and each shows something."""
    for panel, (benchmark, sft) in job_params.panels(chosen, root).items():
        models = chosen.multilingual(root).models
        names = {name.format(model=model) for name in FIGURES for model in models}
        if benchmark == without_culture:
            names.remove("culture")
        assert len(names) > 12
        for name in names:
            stem = folder / root / "figures" / f"{panel}{name}"
            assert Path(f"{stem}.pdf").read_bytes().startswith(b"%PDF"), stem
            assert np.std(matplotlib.image.imread(f"{stem}.png")) > 0.01, stem
            shown = json.loads(Path(f"{stem}.json").read_text("utf-8"))["params"]
            assert (shown["benchmark"], shown["sft"]) == (benchmark, sft), stem


def would_run(folder: Path, hub: Hub, *targets: str) -> dict[str, int]:
    """The jobs by rule that a dry run lists, by default of paper 1's study."""
    told = snakemake(folder, hub, "--dry-run", *(targets or [TARGET]))
    if "Nothing to be done" in told:
        return {}
    table = told.split("Job stats:")[1].split("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
