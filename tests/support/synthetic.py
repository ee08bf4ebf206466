"""Records made of random numbers, with a calibration that is known."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from multical import records

RUN = re.compile(
    r"(?P<model>[^.]+)(\.(?P<sft>[^.]+)\.ls(?P<smoothing>\d+(\.\d+)?)\.s(?P<seed>\d+))?"
)


def written(folder: Path, frame: pd.DataFrame) -> list[str]:
    """Files of records, one for each run and benchmark."""
    paths = []
    for number, (_, rows) in enumerate(frame.groupby(["run", "benchmark"], observed=True)):
        paths.append(str(folder / f"{number}.parquet"))
        records.write(paths[-1], rows)
    return paths


def make_records(
    runs: Sequence[str], languages: Sequence[str], questions: int, seed: int, options: int = 4
) -> pd.DataFrame:
    """Records of a parallel benchmark `synthetic`, as `records.read` would give them.

    A run is a model, or `model.sft.lsB.sSEED`. The right option is drawn from the very
    distribution that `letter` and `text_ppl` read off a base model: it is calibrated.
    Fine-tuned runs take that distribution to the power 2 - 5 b: overconfident without
    smoothing, less so with b = 0.1, calibrated with b = 0.2.
    """
    generator = np.random.default_rng(seed)
    gold = generator.integers(options, size=questions)
    ids = [f"q{number:05d}" for number in range(questions)]
    parts = []
    for run in runs:
        keys = RUN.fullmatch(run)
        assert keys, run
        smoothing = float(keys["smoothing"]) if keys["smoothing"] else None
        power = 1.0 if smoothing is None else 2 - 5 * smoothing
        for language in languages:
            scores = power * log_probabilities(generator, gold, options)
            tokens = generator.integers(1, 7, size=scores.shape).astype(np.int32)
            total = np.log(np.exp(scores).sum(axis=1))
            part = pd.DataFrame({"question_id": ids, "gold": gold, "n_options": options})
            part = part.assign(
                run=run,
                model=keys["model"],
                sft=keys["sft"],
                smoothing=smoothing,
                seed=int(keys["seed"]) if keys["seed"] else None,
                benchmark="synthetic",
                prompt="plain",
                language=language,
                letter_logits=list((scores + 5).astype(np.float32)),
                logsumexp=(total + 5 + np.log(1.25)).astype(np.float32),
                prompt_tokens=50,
                text_logliks=list((tokens * scores).astype(np.float32)),
                text_tokens=list(tokens),
                text_bytes=list(4 * tokens),
            )
            parts.append(part)
    # Through a file, so that the types are those of `records.read`.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "records.parquet")
        whole = pd.concat([part.astype(object) for part in parts])
        records.write(path, whole.reindex(columns=records.SCHEMA.names).astype(object))
        return records.read(path)


def own_answers(
    run: str, benchmark: str, questions: int, skill: float, seed: int, *, power: float = 1.0,
    language: str = "en", prompts: Sequence[str] = ("response", "answer"), options: int = 4,
) -> pd.DataFrame:  # fmt: skip
    """Records of one run of paper 2 on a benchmark: letters alone, phrasings with the same gold.

    The less `skill`, the surer and the righter, from 0 for certain; calibrated before
    letters are taken to `power`.
    """
    generator = np.random.default_rng([seed, questions])
    gold = generator.integers(options, size=questions)
    parts = []
    for prompt in prompts:
        scores = power * log_probabilities(generator, gold, options, skill)
        part = pd.DataFrame({
            "question_id": [f"{benchmark}-{number}" for number in range(questions)],
            "gold": gold,
            "n_options": options,
            "letter_logits": list((scores + 5).astype(np.float32)),
            "logsumexp": np.float32(6),
            "prompt_tokens": 50,
        })  # fmt: skip
        keys = {"run": run, "model": run.partition(".")[0], "benchmark": benchmark}
        parts.append(part.assign(prompt=prompt, language=language, **keys))
    return pd.concat(parts, ignore_index=True)


def log_probabilities(
    generator: np.random.Generator, gold: np.ndarray, options: int, concentration: float = 0.7
) -> np.ndarray:
    """(n, options) log-probabilities in nats from which `gold` is as good as drawn."""
    rows = np.arange(len(gold))
    p = generator.dirichlet(np.full(options, concentration), size=len(gold))
    p = p * 0.999 + 0.001 / options
    drawn = (p.cumsum(axis=1) < generator.random((len(gold), 1)) * p.sum(axis=1)[:, None]).sum(1)
    p[rows, drawn], p[rows, gold] = p[rows, gold], p[rows, drawn]
    return np.log(p)
