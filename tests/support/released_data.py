"""Small releases of paper 2's file format, made on the spot, and slices of the real one."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

ARCHIVE = os.environ.get("MSP_V2_ARCHIVE") or str(
    Path(__file__).parents[2] / "shared" / "data" / "plaut_v2" / "main_results.tar.xz"
)
ONE_SHOT_ARCHIVE = os.environ.get("MSP_V2_ONE_SHOT_ARCHIVE") or str(
    Path(__file__).parents[2] / "shared" / "data" / "plaut_v2" / "one_shot_results.tar.xz"
)
MANIFEST = Path(__file__).parents[2] / "expected" / "msp_v2.sha256"
PROMPTS = ["first_prompt", "second_prompt"]
MODELS: dict[str, dict[str, Any]] = {
    "Small-7b": {"file": "Small-7b", "name": "Small 7B", "size": 7.0, "max_logit": True},
    "big": {"file": "big", "name": "Big", "size": None, "max_logit": False},
}
MAX_LOGITS = {name: model["max_logit"] for name, model in MODELS.items()}
DATASETS = {"arc": 700, "quiz": 40}


def name(dataset: str, model: str, start: int, stop: int, value: str, prompt: str) -> str:
    return f"{dataset}_{model}-q{start}to{stop}_no_abst_{value}_logits_{prompt}.txt"


def content(grades: list[str], confidences: np.ndarray) -> str:
    lines = [f"{g} {c}" for g, c in zip(grades, confidences.tolist(), strict=True)]
    return "\n".join(["grade confidence_level", *lines, ""])


def write(folder: Path, seed: int = 0) -> Path:
    """A whole release of `MODELS` on `DATASETS`, in slices of 500 questions."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for dataset, count in DATASETS.items():
        for model, about in MODELS.items():
            for prompt in PROMPTS:
                for start in range(0, count, 500):
                    stop = min(start + 500, count)
                    msp = rng.random(stop - start)
                    right = rng.random(stop - start) < msp
                    grades = ["Correct" if x else "Wrong" for x in right]
                    for value in ("norm", "raw") if about["max_logit"] else ("norm",):
                        shown = msp if value == "norm" else 40 * msp - 1
                        path = folder / name(dataset, model, start, stop, value, prompt)
                        path.write_text(content(grades, shown))
    return folder


def slice_of_archive(folder: Path, models: list[str], datasets: list[str]) -> Path:
    """The first file of each cell of the real archive: 500 questions per data set."""
    folder.mkdir(parents=True)
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            text = Path(member.name).name
            chosen = any(text.startswith(f"{d}_{m}-q0to500_") for d in datasets for m in models)
            stream = archive.extractfile(member) if chosen else None
            if stream is not None:
                (folder / text).write_bytes(stream.read())
    return folder
