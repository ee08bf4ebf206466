"""The programs of study 2, run on a study in a folder, for tests of both of its kinds."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from support import released_data as data

ROOT = Path(__file__).parents[2]


class Study:
    """A study's settings, and its programs, run in a folder."""

    def __init__(
        self,
        folder: Path,
        source: Path | str,
        models: list[dict[str, Any]],
        counts: dict[str, int],
        **settings: Any,
    ) -> None:
        self.folder, self.source, self.records = folder, str(source), "r.parquet"
        self.settings: dict[str, Any] = {
            "study": "results/x",
            "models": models,
            "datasets": [
                {"id": k, "name": k.upper(), "questions": n, "benchmark": k, "language": "en"}
                for k, n in counts.items()
            ],
            "methods": ["msp", "maxlogit"],
            "error": "calibration_error",
            "prompts": data.PROMPTS,
            "archive": None, "repository": "https://example.org/x", "commit": "0",
            "folder": "main_results",
            "significance": 1e-4, "bins": 10, "replicates": 20, "level": 0.95, "bootstrap_seed": 0,
            "seed": 2549900867, "seeds": 3, "ks": [5, 20, "half"], "main_k": 20,
            "schemes": {"balanced": 1, "conservative": 2}, "grid": "zero",
        } | settings  # fmt: skip

    def command(self, script: str, keys: str, *files: str, **changes: Any) -> list[str]:
        """A program with its arguments; each of `files` is an option with its file, `x=file`."""
        names = ["study", "models", "datasets", *keys.split()]
        settings = self.settings | changes
        params = json.dumps({name: settings[name] for name in names})
        options = [part for file in files for part in _option(file)]
        return [script, "--params", params, "--code", "test", *options]

    def run(self, script: str, keys: str, *files: str) -> subprocess.CompletedProcess[str]:
        """Run a program as its rule does."""
        script, *arguments = self.command(script, keys, *files)
        return subprocess.run(
            [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *arguments],
            cwd=self.folder, capture_output=True, text=True, check=False,
            env=os.environ | {"MSP_V2_ARCHIVE": self.source},
        )  # fmt: skip

    def must(self, script: str, keys: str, *files: str, **changes: Any) -> None:
        """Run a program within this process, which is quicker; raises its `InputError`."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("MSP_V2_ARCHIVE", self.source)
            patch.setattr(sys, "argv", self.command(script, keys, *files, **changes))
            importlib.import_module(script).main()

    def importing(self, *more: str) -> None:
        self.must("import_released", "archive repository commit folder prompts",
                  "records=r.parquet", "summary=r.json", *more)  # fmt: skip

    def tables(self) -> None:
        self.must("compute_msp_auroc", "methods significance", f"records={self.records}",
                  "auroc=auroc.csv", "mann-whitney=mann_whitney.csv", "cells=cells.csv",
                  "datasets=datasets.csv", "one-sample=one_sample.csv")  # fmt: skip
        self.must("compute_msp_calibration", "bins main_k seed", f"records={self.records}",
                  "calibration=calibration.csv", "platt=platt.csv",
                  "calibration-curves=calibration_curves.csv")  # fmt: skip
        self.must("compute_msp_abstention", "methods seed seeds ks main_k schemes grid",
                  f"records={self.records}", "scores=scores.csv", "abstention=abstention.csv",
                  "thresholds=thresholds.csv", "score-curves=score_curves.csv")  # fmt: skip
        self.must("compute_msp_correlations", "methods", "cells=cells.csv",
                  "calibration=calibration.csv", "correlations=correlations.csv",
                  "points=points.csv")  # fmt: skip

    def figures(self, dataset: str) -> list[str]:
        made = {
            "plot_msp_calibration": (
                ["calibration-curves", "points"],
                ["calibration", "calibration-platt", "accuracy-vs-calibration",
                 "accuracy-vs-calibration-platt"],
            ),
            "plot_msp_auroc": (
                ["points"],
                ["accuracy-vs-auroc", "size-vs-auroc", "accuracy-vs-auroc-by-phrasing",
                 "size-vs-auroc-by-phrasing"],
            ),
            "plot_msp_abstention": (
                ["score-curves", "scores"],
                ["score-vs-threshold", "score-vs-k"],
            ),
            "plot_msp_datasets": (["datasets"], ["dataset-bars"]),
        }  # fmt: skip
        for script, (tables, figures) in made.items():
            shown = [one for one in self.settings["methods"] if one in ("msp", "maxlogit")]
            if script == "plot_msp_datasets":
                shown = self.settings["methods"]
            own = "error" if script == "plot_msp_calibration" else "methods"
            self.must(script, f"dataset {own}",
                      *(f"{name}={name.replace('-', '_')}.csv" for name in tables),
                      *(f"{name}=figures/{name}.{dataset}.pdf" for name in figures),
                      dataset=dataset, methods=shown)  # fmt: skip
        return [f"{name}.{dataset}" for _, figures in made.values() for name in figures]

    def own_figures(self, dataset: str, questions: str) -> list[str]:
        """Those of own runs alone."""
        own: dict[str, Any] = {"dataset": dataset, "methods": ["margin", "entropy"]}
        names = ("accuracy-vs-auroc", "score-vs-threshold", "prompts")
        files = [f"{name}-own.{dataset}" for name in names]
        self.must("plot_msp_auroc", "dataset methods", "points=points.csv",
                  f"{names[0]}=figures/{files[0]}.pdf", **own)  # fmt: skip
        self.must("plot_msp_abstention", "dataset methods", "scores=scores.csv",
                  "score-curves=score_curves.csv", f"{names[1]}=figures/{files[1]}.pdf",
                  **own)  # fmt: skip
        self.must("plot_msp_prompts", "dataset prompts", f"questions={questions}",
                  f"{names[2]}=figures/{files[2]}.pdf", dataset="arc")  # fmt: skip
        return files

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"{name}.csv")


def _option(file: str) -> Iterator[str]:
    name, values = file.split("=", 1)
    yield "--" + name
    yield from values.split()
