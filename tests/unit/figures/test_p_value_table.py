"""make_p_values_table.py: the p-values of two tables in one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import make_p_values_table
from multical.errors import InputError
from multical.figures.params import Conditions
from multical.params import option
from support import figure_data

PARAMS = {key: figure_data.PARAMS[key] for key in Conditions.model_fields}
Make = Callable[..., tuple[pd.DataFrame, str]]


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    languages = {"en": "high", "de": "high", "el": "mid", "yo": "low", "am": "low"}
    return figure_data.write_tables(tmp_path_factory.mktemp("tables"), languages)


@pytest.fixture
def make(tables: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """The table as read again, and as LaTeX."""

    def run(changed: dict[str, pd.DataFrame] | None = None, **params: Any) -> Any:
        command = ["make_p_values_table.py", "--params", json.dumps(PARAMS | params), "--code", "a"]
        for kind in make_p_values_table.TABLES:
            path = tables[kind]
            if kind in (changed or {}):
                path = tmp_path / f"{kind}.csv"
                (changed or {})[kind].to_csv(path, index=False)
            command += [option(kind), str(path)]
        for form, end in (("csv", "csv"), ("tex", "tex"), ("sidecar", "json")):
            command += [f"--{form}", str(tmp_path / f"p_values.{end}")]
        monkeypatch.setattr(sys, "argv", command)
        make_p_values_table.main()
        made = pd.read_csv(tmp_path / "p_values.csv", index_col=["model", "after", "metric"])
        return made, (tmp_path / "p_values.tex").read_text(encoding="utf-8")

    return run


def test_it_holds_the_tests_of_all_tables(make: Make, tables: dict[str, Path]) -> None:
    table, tex = make()
    assert len(table) == 2 * 2 * 6
    assert not table.index.has_duplicates
    key = ("gemma3-270m", "SFT", "brier")
    unit = f"model == '{key[0]}' and after == 'SFT' and metric == 'brier'"
    over = pd.read_csv(tables["effects_over_languages"])
    row = over.query(unit + " and group == 'non-english'").iloc[0]
    known = table.loc[[key]].iloc[0]
    names = ["value", "ci_low", "ci_high", "p_holm", "p_all_bh", "p_all_holm", "languages"]
    assert known[names].tolist() == row[names].tolist()
    effects = pd.read_csv(tables["effects"]).query(unit)
    for end in ("holm", "bh"):
        sure = effects.loc[effects[f"p_{end}"] < 0.05, "value"].to_numpy()
        counts = [(sure > 0).sum(), (sure < 0).sum()]
        assert known[[f"rise_{end}", f"fall_{end}"]].tolist() == counts
    assert table[["rise_holm", "fall_holm"]].sum().gt(0).all()
    by_group = over.query(unit).set_index("group")
    for level in ("high", "mid", "low"):
        assert known[f"{level}_bh"] == by_group["p_all_bh"][level]
    assert {line.count("&") for line in tex.splitlines() if line.endswith(r"\\")} == {9}
    assert tex.count("base to SFT") == tex.count("SFT to SFT + smoothing 0.1") == 12
    assert "$<$.001" in tex
    assert f"{row['value']:+.3f} [" in tex


def test_tests_that_could_not_be_made_have_no_p(make: Make, tables: dict[str, Path]) -> None:
    over = pd.read_csv(tables["effects_over_languages"])
    over = over[over["group"] != "mid"]
    lost = (over["metric"] == "brier") & (over["model"] == "gemma3-270m")
    lost &= over["group"].isin(["high", "low"])
    over.loc[lost, ["p_all", "p_all_holm", "p_all_bh"]] = np.nan
    table, tex = make({"effects_over_languages": over})
    assert table["mid_holm"].isna().all()
    assert table["low_holm"].isna().sum() == table["high_bh"].isna().sum() == 2
    assert tex.count("-- & -- & --") == 2


def test_languages_of_unknown_level_have_a_column(make: Make, tables: dict[str, Path]) -> None:
    over = pd.read_csv(tables["effects_over_languages"])
    plain, _ = make()
    assert not [name for name in plain if str(name).startswith("unknown")]
    table, tex = make({"effects_over_languages": over.replace({"group": {"low": "unknown"}})})
    assert table["unknown_holm"].tolist() == plain["low_holm"].tolist()
    assert table["low_holm"].isna().all()
    assert {line.count("&") for line in tex.splitlines() if line.endswith(r"\\")} == {10}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"smoothing": 0.7}, r"effects.csv: no rows for gemma3-270m, SFT \+ smoothing 0.7"),
        ({"sft": "alpaca"}, r"effects.csv: no rows with sft \['alpaca'\], found \['facts'\]"),
        ({"sft": None, "seed": None, "smoothing": None}, "results/demo shows base models alone"),
    ],
)
def test_what_a_table_lacks(
    make: Make, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        make(**changes)
    assert not list(tmp_path.iterdir())
