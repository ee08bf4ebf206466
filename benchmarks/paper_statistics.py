"""Item 3: all metrics of all cells at paper scale, with 1,000 bootstrap replicates.

Makes records of 30 runs x 42 languages x 14,042 questions (17.7 million) with a known
truth, runs scripts/compute_metrics.py on them, and checks that it found that truth:
answers are drawn from a base model's own distribution, which is so calibrated, and a
tuned run takes it to a power, which is overconfident. Point estimates alone are timed
against torchmetrics and netcal in a loop over cells.

--small is 2 runs x 3 languages x 2,000 questions, and records nothing. The files of records,
of a whole run 0.6 GB, go to a temporary folder, or to --folder, where a later run finds them.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))

from multical import records  # noqa: E402
from multical.files import atomic  # noqa: E402
from multical.metrics.definitions import METRICS  # noqa: E402
from multical.metrics.readouts import READOUTS  # noqa: E402
from multical.metrics.resampling import Sample, replicates  # noqa: E402
from recording import PEERS, Usage, alternating, measured, note, record, row  # noqa: E402

ITEM = "paper_statistics"
LIMITS = Usage(wall=120.0, cpu=240.0, gigabytes=6.0)
SETTINGS = {"readouts": ["text_ppl", "text_sum", "letter"], "metrics": list(METRICS), "bins": 15}
#: What `peers.py` computes, and what it takes for it.
SHARED = ["accuracy", "ece", "mce", "auroc"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--times", type=int, default=3, help="alternating runs against peers")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    runs, languages, questions = (2, 3, 2000) if arguments.small else (30, 42, 14042)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        note(f"records of {runs} runs x {languages} languages x {questions} questions")
        paths = [make_run(folder, run, languages, questions) for run in range(runs)]
        setting = f"{runs} runs x {languages} languages x {questions} questions x 3 readouts"
        setting += f", {arguments.replicates} replicates"
        usage = run_ours(folder, paths, languages, arguments)
        rows = [
            row("limit", setting, getattr(usage, name), getattr(LIMITS, name), unit)
            for name, unit in (("wall", "s"), ("cpu", "CPU s"), ("gigabytes", "GB"))
        ]
        rows += against_peers(folder, paths[0], languages, arguments.times)
    record(ITEM, rows, arguments.small)


def make_run(folder: Path, run: int, languages: int, questions: int) -> Path:
    """One file of records; the third of all runs are base models, and calibrated."""
    name = f"m{run}" if run % 3 == 0 else f"m{run}.sft.ls0.s0"
    path = folder / f"{name}.{languages}x{questions}.parquet"
    if path.exists():
        return path
    generator = np.random.default_rng(run)
    n = languages * questions
    p = generator.dirichlet(np.full(4, 0.7), size=n) * 0.999 + 0.001 / 4
    gold = np.minimum((p.cumsum(axis=1) < generator.random((n, 1))).sum(axis=1), 3)
    scores = (1.0 if run % 3 == 0 else 2.0) * np.log(p)
    tokens = generator.integers(1, 7, size=(n, 4))
    offsets = pa.array(np.arange(0, 4 * n + 1, 4), pa.int32())

    def lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, pa.array(values.ravel(), kind))

    def text(value: str) -> pa.Array:
        return pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), [value])

    ids = pa.array([f"q{number:05d}" for number in range(questions)])
    columns = {
        "run": text(name),
        "model": text(f"m{run}"),
        "benchmark": text("synthetic"),
        "prompt": text("plain"),
        "language": pa.DictionaryArray.from_arrays(
            np.repeat(np.arange(languages, dtype=np.int32), questions), tags(languages)
        ),
        "question_id": ids.take(np.tile(np.arange(questions), languages)),
        "n_options": pa.array(np.full(n, 4), pa.int8()),
        "gold": pa.array(gold, pa.int8()),
        "letter_logits": lists(scores + 5, pa.float32()),
        "logsumexp": pa.array(np.log(np.exp(scores).sum(axis=1)) + 5.2, pa.float32()),
        "prompt_tokens": pa.array(np.full(n, 50), pa.int32()),
        "text_logliks": lists(tokens * scores, pa.float32()),
        "text_tokens": lists(tokens, pa.int32()),
    }
    if run % 3:
        columns |= {"sft": text("sft"), "smoothing": pa.array(np.zeros(n))}
        columns |= {"seed": pa.array(np.zeros(n, np.int64))}
    arrays = [columns.get(f.name, pa.nulls(n, f.type)) for f in records.SCHEMA]
    with atomic(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, schema=records.SCHEMA), temporary)
    return path


def tags(languages: int) -> list[str]:
    """Made-up language tags, sorted."""
    return [f"xx-{number:02d}" for number in range(languages)]


def run_ours(
    folder: Path, paths: list[Path], languages: int, arguments: argparse.Namespace
) -> Usage:
    params = SETTINGS | {
        "bootstrap": {"replicates": arguments.replicates, "seed": 0, "level": 0.95},
        "resource_levels": {
            tag: ("high", "mid", "low")[index % 3] for index, tag in enumerate(tags(languages))
        },
    }
    script = HERE.parent / "scripts/compute_metrics.py"
    outputs: list[str | Path] = [
        "--metrics",
        folder / "metrics.csv",
        "--summary",
        folder / "summary.csv",
    ]
    outputs += ["--processes", str(arguments.processes), "--records", *paths]
    usage = measured([sys.executable, script, "--params", json.dumps(params), *outputs])
    note(f"{usage}")
    check_truth(pd.read_csv(folder / "summary.csv"))
    return usage


def check_truth(summary: pd.DataFrame) -> None:
    """Base runs are calibrated in `letter` and `text_ppl`, by construction; tuned ones are not."""
    own = summary[(summary["group"] == "all") & (summary["metric"] == "gap")]
    own = own[own["readout"].isin(["letter", "text_ppl"])]
    base, tuned = own[own["sft"].isna()], own[own["sft"].notna()]
    off = base["value"].abs() > 4 * (base["ci_high"] - base["ci_low"]) / 3.92
    if off.any() or not (tuned["ci_low"] > 0.02).all():
        raise SystemExit(f"error: the known truth was not found:\n{own}")


def against_peers(folder: Path, path: Path, languages: int, times: int) -> list[dict]:
    """Point estimates of one run's cells in a loop: the same metrics, and all of ours."""
    frame = records.read(path, compact=True)
    readouts = [READOUTS["letter"](rows) for _, rows in frame.groupby("language", observed=True)]
    cells = folder / "cells.npz"
    np.savez(
        cells,
        probabilities=np.array([readout.probabilities for readout in readouts]),
        gold=np.array([readout.gold for readout in readouts]),
        confidence=np.array([readout.confidence for readout in readouts]),
        correct=np.array([readout.correct for readout in readouts]),
    )
    questions = len(readouts[0].correct)
    sample = Sample(np.ones((questions, 1), np.uint8), np.arange(questions))

    def ours(names: list[str]) -> float:
        start = time.perf_counter()
        for readout in readouts:
            replicates(readout, sample, names, 15)
        return time.perf_counter() - start

    def theirs(peer: str) -> float:
        command = [str(PEERS), str(HERE / "peers.py"), peer, str(cells)]
        done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(done)
        for name, value in found["last"].items():
            own = float(replicates(readouts[-1], sample, [name], 15)[name][0])
            if not math.isclose(own, value, abs_tol=1e-6):  # theirs is of float32
                raise SystemExit(f"error: {peer}: {name} is {value}, ours {own}")
        return found["seconds"]

    setting = f"{languages} cells x {questions} questions, point estimates"
    rows = []
    for peer, names in (("torchmetrics", SHARED), ("netcal", ["ece", "mce"])):
        sides = [partial(ours, names), partial(ours, list(METRICS)), partial(theirs, peer)]
        same, whole, other = alternating(sides, times)
        shared = ", ".join(names)
        rows.append(row(peer, f"{setting}: {shared}", same, other, "s"))
        every = f"all our {len(METRICS)} against {shared}"
        rows.append(row(peer, f"{setting}: {every}", whole, other, "s"))
    return rows


if __name__ == "__main__":
    main()
