"""The programs of paper 2, run on a study in a folder, for tests of both of its kinds."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from multical.metrics.params import Abstention, Split
from support import forks
from support import released_data as data

ROOT = Path(__file__).parents[2]
#: By program its inputs (--OPTION, and file but for records), what it makes, and its parameters
#: besides the study, its models and data sets
PROGRAMS: dict[str, tuple[dict[str, str], str, str]] = {
    "compute_msp_auroc": (
        {"records": ""}, "auroc mann_whitney cells datasets one_sample", "methods significance",
    ),
    "compute_msp_intervals": ({"records": ""}, "intervals", "methods bootstrap"),
    "compute_msp_calibration": (
        {"records": "", "curves": "calibration_curves"}, "calibration platt", "bins split",
    ),
    "compute_msp_abstention": (
        {"records": "", "curves": "score_curves"}, "scores abstention thresholds",
        "methods abstention",
    ),
    "compute_msp_correlations": (
        {"cells": "cells", "calibration": "calibration"}, "correlations points", "methods",
    ),
    "plot_msp_calibration": (
        {"curves": "calibration_curves", "points": "points"},
        "calibration calibration_platt accuracy_vs_calibration accuracy_vs_calibration_platt",
        "dataset error",
    ),
    "plot_msp_auroc": (
        {"points": "points"},
        "accuracy_vs_auroc size_vs_auroc accuracy_vs_auroc_by_phrasing size_vs_auroc_by_phrasing",
        "dataset methods",
    ),
    "plot_msp_abstention": (
        {"curves": "score_curves", "scores": "scores"}, "score_vs_threshold score_vs_k",
        "dataset methods",
    ),
    "plot_msp_datasets": ({"datasets": "datasets"}, "dataset_bars", "dataset methods"),
}  # fmt: skip
FORMS = {"compute": {"csv": "csv", "tex": "tex"}, "plot": {"pdf": "pdf", "png": "png"}}


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
        self.counts = counts
        self.settings: dict[str, Any] = {
            "study": "results/x",
            "models": models,
            "datasets": [
                {"id": k, "name": k.upper(), "benchmark": k, "language": "en"} for k in counts
            ],
            "methods": ["msp", "maxlogit"],
            "error": "calibration_error_width",
            "dataset": "all",
            "significance": 1e-4, "bins": 10,
            "bootstrap": {"replicates": 20, "level": 0.95, "seed": 0},
            "abstention": {"seeds": 3, "ks": [5, 20, "half"], "grid": "zero"},
        }  # fmt: skip
        self.settings = self.changed(settings)

    def changed(self, changes: dict[str, Any]) -> dict[str, Any]:
        """The settings with others; those of abstention are named without it."""
        own = {key: changes[key] for key in Abstention.model_fields if key in changes}
        rest = {key: value for key, value in changes.items() if key not in own}
        abstention = self.settings["abstention"] | own
        split = {key: abstention[key] for key in Split.model_fields if key in abstention}
        return self.settings | rest | {"abstention": abstention, "split": split}

    def params(self, script: str, **changes: Any) -> dict[str, Any]:
        """The parameters of a program."""
        settings = self.changed(changes)
        keys = ["study", "models", "datasets", *PROGRAMS[script][2].split()]
        return {key: settings[key] for key in keys}

    def outputs(self, script: str, names: str = "", folder: str = "") -> list[str]:
        """What a program makes, or some of it, as options."""
        forms = FORMS[script.partition("_")[0]] | {"sidecar": "json"}
        stems = [folder + name for name in (names or PROGRAMS[script][1]).split()]
        return [
            part
            for option, end in forms.items()
            for part in (f"--{option}", *(f"{stem}.{end}" for stem in stems))
        ]

    def must(self, script: str, names: str = "", folder: str = "", **changes: Any) -> None:
        """Run a program within this process, which is quicker; raises its `InputError`."""
        inputs = []
        for option, name in PROGRAMS[script][0].items():
            files = [f"{name}.csv"] if name else self.records.split()
            inputs += [f"--{option}", *files]
        self.call(
            script, self.params(script, **changes), *inputs, *self.outputs(script, names, folder)
        )

    def call(self, script: str, params: dict[str, Any], *options: str) -> None:
        """Run a program with other parameters and options."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("MSP_V2_ARCHIVE", self.source)
            command = [script, "--params", json.dumps(params), "--code", "test", *options]
            patch.setattr(sys, "argv", command)
            importlib.import_module(script).main()

    def release(self) -> dict[str, Any]:
        """The parameters of the import."""
        source = {"repository": "https://example.org/x", "commit": "0" * 40}
        source["variable"] = "MSP_V2_ARCHIVE"
        return {
            "source": source | {"folder": "main_results"},
            "models": self.settings["models"],
            "datasets": [{"id": k, "name": k, "questions": n} for k, n in self.counts.items()],
            "prompts": data.PROMPTS,
        }

    def importing(self, *more: str) -> None:
        files = ["--records", "r.parquet", "--summary", "r.json"]
        self.call("import_released", self.release(), *files, *more)

    def import_apart(self) -> subprocess.CompletedProcess[str]:
        """Run the import as its rule does."""
        command = [sys.executable, str(ROOT / "scripts/import_released.py"), "--code", "test"]
        command += ["--params", json.dumps(self.release())]
        command += ["--records", "r.parquet", "--summary", "r.json"]
        return forks.run(
            command, cwd=self.folder,
            env=os.environ | {"MSP_V2_ARCHIVE": self.source},
        )  # fmt: skip

    def tables(self) -> None:
        for name in ("auroc", "calibration", "abstention", "correlations"):
            self.must(f"compute_msp_{name}")

    def figures(self, dataset: str) -> list[str]:
        """Draw the figures of a data set, or all; their paths without a suffix."""
        folder, made = f"figures/{dataset}/", []
        main = [one for one in self.settings["methods"] if one in ("msp", "maxlogit")]
        for script in (name for name in PROGRAMS if name.startswith("plot")):
            shown = self.settings["methods"] if script == "plot_msp_datasets" else main
            self.must(script, folder=folder, dataset=dataset, methods=shown)
            made += [folder + name for name in PROGRAMS[script][1].split()]
        return made

    def own_figures(self, dataset: str, questions: str, prompts: list[dict[str, Any]]) -> list[str]:
        """Those of own runs alone."""
        own: dict[str, Any] = {"dataset": dataset, "methods": ["margin", "entropy"]}
        folder = f"figures/{dataset}/"
        names = ["accuracy_vs_auroc_margin_entropy", "score_vs_threshold_margin_entropy"]
        self.must("plot_msp_auroc", names[0], folder, **own)
        self.must("plot_msp_abstention", names[1], folder, **own)
        self.prompts(questions, prompts, "en", f"{folder}prompts")
        return [folder + name for name in (*names, "prompts")]

    def prompts(
        self, questions: str, prompts: list[dict[str, Any]], language: str, stem: str
    ) -> None:
        """Draw prompts."""
        params = {"study": "results/x", "prompts": prompts, "language": language}
        made = self.outputs("plot_msp_prompts", stem)
        self.call("plot_msp_prompts", params, "--questions", questions, *made)

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"{name}.csv")
