"""Published numbers against tables: those of paper 2's fourth generation, and tolerances."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import verify_expected
from multical.errors import InputError

V4 = Path(__file__).parents[3] / "expected" / "msp_v4.csv"
TABLES = ("auroc", "calibration", "correlations")


def published() -> list[dict[str, str]]:
    return verify_expected.read(str(V4))


def as_printed(folder: Path, **changes: str) -> list[str]:
    """Tables with just the published numbers, and `changes` of Falcon 7B's in the main one."""
    found: dict[str, dict[tuple[str, ...], dict[str, Any]]] = {name: {} for name in TABLES}
    for row in published():
        *keys, column = row["quantity"].split("/")
        if row["table"] == "auroc" and not row["model"]:
            continue  # a total, which no table has
        names = ["dataset", "model", *verify_expected.KEYS[row["table"]]]
        values = (row["dataset"], row["model"], *keys)
        if row["table"] == "correlations":
            names.remove("model")
            values = (row["dataset"], *keys)
        cells = found[row["table"]].setdefault(values, dict(zip(names, values, strict=True)))
        value = row["value"]
        if "/" not in value:
            value = "1e-4" if "<" in value else str(float(value) / float(row["factor"]))
        cells[column] = value
    found["auroc"]["all", "Falcon 7B"] |= changes
    paths = [folder / f"{name}.csv" for name in TABLES]
    for path in paths:
        pd.DataFrame(found[path.stem].values()).to_csv(path, index=False)
    return [*map(str, paths)]


def verify(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> pd.DataFrame:
    tables = as_printed(folder, **changes)
    report = folder / "report.csv"
    arguments = ["--expected", str(V4), "--tables", *tables, "--report", str(report)]
    monkeypatch.setattr(sys, "argv", ["verify_expected.py", *arguments])
    verify_expected.main()
    return pd.read_csv(report, dtype=str, keep_default_na=False)


def test_all_of_v4_is_there_and_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.DataFrame(published())
    models = set(rows["model"]) - {""}
    assert len(models) == 15
    assert rows.groupby(["table", "model", "quantity"]).size().eq(1).all()
    counts = rows[rows["model"] != ""].groupby("model").size()
    assert set(counts) == {6, 4}  # without Max Logit
    assert set(counts.index[counts == 4]) == {"GPT-3.5 Turbo", "GPT-4o"}
    report = verify(tmp_path, monkeypatch).set_index(["model", "quantity"])
    assert report.loc[("", "msp_significant"), "ours"] == "134/150"
    assert report.loc[("", "maxlogit_significant"), "ours"] == "111/130"
    assert (pd.to_numeric(report["difference"]).abs().dropna() < 1e-9).all()


@pytest.mark.parametrize(
    ("column", "within", "outside"),
    [
        ("accuracy", "0.341", "0.342"),
        ("msp_auroc", "0.4", "0.399"),
        ("msp_significant", "4/10", "5/10"),
        ("msp_significant", "0/10", "1/9"),
        ("maxlogit_significant", "4/10", ""),
        ("maxlogit_auroc", "0.469", ""),
    ],
)
def test_numbers_and_cells_have_a_tolerance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, within: str, outside: str
) -> None:
    verify(tmp_path, monkeypatch, **{column: within})
    (tmp_path / "report.csv").unlink()
    with pytest.raises(InputError, match=rf"outside .* first auroc all Falcon 7B {column}"):
        verify(tmp_path, monkeypatch, **{column: outside})
    assert not (tmp_path / "report.csv").exists()


def test_a_p_that_is_not_defined_is_outside(tmp_path: Path) -> None:
    (tmp_path / "correlations.csv").write_text("dataset,prompt,x,y,p\nall,,size,msp_auroc,\n")
    row = dict.fromkeys(verify_expected.COLUMNS, "") | {"table": "correlations", "dataset": "all"}
    asked = row | {"quantity": "/size/msp_auroc/p", "value": "<0.001"}
    tables = {"correlations": str(tmp_path / "correlations.csv")}
    assert list(verify_expected.compare([asked], tables, "e.csv")["verdict"]) == ["OUTSIDE"]


def test_totals_have_one_too(tmp_path: Path) -> None:
    (tmp_path / "auroc.csv").write_text(
        "dataset,model,accuracy,msp_significant,maxlogit_significant\n"
        "all,a,0.5,3/10,\nall,b,0.5,8/10,1/10\narc,a,0.5,1/2,\narc,b,0.5,2/2,0/2\n"
    )
    row = dict.fromkeys(verify_expected.COLUMNS, "") | {"table": "auroc", "factor": "1"}
    tables = {"auroc": str(tmp_path / "auroc.csv")}
    for dataset, quantity, value, tolerance, verdict in (
        ("all", "msp_significant", "13/20", "2", "ok"),
        ("all", "msp_significant", "14/20", "2", "OUTSIDE"),
        ("all", "maxlogit_significant", "1/10", "0", "ok"),
        ("all", "maxlogit_significant", "1/20", "5", "OUTSIDE"),
        ("arc", "msp_significant", "3/4", "0", "ok"),
    ):
        asked = {"dataset": dataset, "quantity": quantity, "value": value}
        (found,) = verify_expected.compare(
            [row | asked | {"tolerance": tolerance}], tables, "e.csv"
        ).to_dict("records")
        assert found["verdict"] == verdict, asked
    with pytest.raises(InputError, match=r"e.csv: line 2: no such number in the tables"):
        verify_expected.compare([row | {"dataset": "all", "quantity": "accuracy"}], tables, "e.csv")
