"""make_selective_table.py: areas of summary and metrics, beside those of trivial confidences."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import make_selective_table
from multical.errors import InputError
from multical.figures.params import ByLanguage
from multical.metrics.definitions import METRICS
from multical.metrics.readouts import Readout
from support import figure_data

PARAMS = {key: figure_data.PARAMS[key] for key in ByLanguage.model_fields}
KEY = ["model", "group", "condition"]
Make = Callable[..., tuple[pd.DataFrame, str]]


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Path]:
    """The accuracies are those of whole numbers of answers."""
    languages = {"en": "high", "de": "high", "el": "mid", "yo": "low"}
    made = figure_data.write_tables(tmp_path, languages)
    frame = pd.read_csv(made["metrics"])
    rows = frame["metric"] == "accuracy"
    frame.loc[rows, "value"] = (frame.loc[rows, "value"] * 160).round() / 160
    frame.to_csv(made["metrics"], index=False)
    return made


@pytest.fixture
def make(tables: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """The table as read again, and as LaTeX."""

    def run(**params: Any) -> tuple[pd.DataFrame, str]:
        command = ["make_selective_table.py", "--params", json.dumps(PARAMS | params)]
        for kind in make_selective_table.TABLES:
            command += [f"--{kind}", str(tables[kind])]
        for form, end in (("csv", "csv"), ("tex", "tex"), ("sidecar", "json")):
            command += [f"--{form}", str(tmp_path / f"selective.{end}")]
        monkeypatch.setattr(sys, "argv", [*command, "--code", "a"])
        make_selective_table.main()
        made = pd.read_csv(tmp_path / "selective.csv", index_col=KEY)
        return made, (tmp_path / "selective.tex").read_text(encoding="utf-8")

    return run


def test_it_holds_both_tables(make: Make, tables: dict[str, Path]) -> None:
    table, tex = make()
    assert len(table) == 2 * 2 * 3  # models, groups, conditions
    run = "run == 'gemma3-270m.facts.ls0.1.s0' and metric == 'augrc' and "
    ends = ["value", "ci_low", "ci_high"]
    for kind, group, place in (("summary", "non-english", "group"), ("metrics", "en", "language")):
        row = pd.read_csv(tables[kind]).query(run + f"{place} == '{group}'").iloc[0]
        found: Any = table.xs(("gemma3-270m", group, "SFT + smoothing 0.1"))
        assert found[["augrc", "augrc_low", "augrc_high"]].tolist() == row[ends].tolist()
        assert f"& {row['value']:.3f} &" in tex
        assert found["languages"] == (1 if group == "en" else 3)
    assert tex.count(r"\tiny") == 12 * 4
    assert tex.count(r"\midrule") == 2
    assert {line.count("&") for line in tex.splitlines() if line.startswith("gemma")} == {10}


def test_baselines_are_means_over_languages_of_trivial_confidences(
    make: Make, tables: dict[str, Path]
) -> None:
    table, _ = make()
    frame = pd.read_csv(tables["metrics"]).query("metric == 'accuracy' and smoothing == 0")
    accuracies = frame[frame["model"] == "gemma3-270m"].set_index("language")["value"]
    for group, languages in (("non-english", ["de", "el", "yo"]), ("en", ["en"])):
        found: Any = table.xs(("gemma3-270m", group, "SFT"))
        for metric in ("aurc", "augrc"):
            for name in ("random", "oracle"):
                areas = []
                for accuracy in accuracies[languages]:
                    correct = np.arange(160) < round(accuracy * 160)
                    sure = correct * 1.0 if name == "oracle" else np.full(160, 0.5)
                    readout = Readout(sure, correct, None, None, True)
                    areas.append(METRICS[metric](readout, None, 15)[0])
                assert found[f"{metric}_{name}"] == pytest.approx(np.mean(areas), abs=1e-12)


def test_missing_intervals_languages_and_values(make: Make, tables: dict[str, Path]) -> None:
    for kind in ("summary", "metrics"):
        frame = pd.read_csv(tables[kind])
        frame[["ci_low", "ci_high"]] = np.nan
        frame.loc[frame["metric"] == "auroc", "value"] = np.nan
        frame.to_csv(tables[kind], index=False)
    table, tex = make(reference_language="fr")
    assert set(table.index.get_level_values("group")) == {"non-english"}
    assert "[--, --]" not in tex
    alone, _ = make(sft=None, seed=None, smoothing=None)
    assert set(alone.index.get_level_values("condition")) == {"base"}
    pd.read_csv(tables["metrics"]).query("metric != 'augrc'").to_csv(tables["metrics"], index=False)
    with pytest.raises(InputError, match=r"metrics.csv: no rows with metric \['augrc'\]"):
        make()
