"""The benchmarks' own parts: what they record, and that statistics find the known truth."""

from __future__ import annotations

import sys
from argparse import Namespace
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest

import paper_statistics
import recording
import startup
import verbs
from recording import record, row
from support import figure_data


def test_a_ratio_above_one_is_better() -> None:
    assert row("peer", "s", 2.0, 4.0, "s")["ratio"] == "2"
    assert row("peer", "s", 2.0, 4.0, "questions/s", more=True)["ratio"] == "0.5"


def test_an_item_takes_the_place_of_its_earlier_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, table = tmp_path / "results.csv", tmp_path / "results.md"
    monkeypatch.setattr(recording, "RESULTS", results)
    monkeypatch.setattr(recording, "TABLE", table)
    record("b", [row("peer", "old", 1, 2, "s")])
    record("a", [row("peer", "x", 1, 2, "s")])
    record("b", [row("peer", "new", 1, 3, "s")])
    record("b", [row("peer", "small", 1, 4, "s")], trial=True)
    written = "item,peer,setting,ours,theirs,unit,ratio\na,peer,x,1,2,s,2\nb,peer,new,1,3,s,3\n"
    assert results.read_text() == written
    shown = table.read_text()
    assert recording.machine() in shown
    assert shown.index("## a") < shown.index("## b") < shown.index("| peer | new | 1 | 3 | s | 3 |")
    monkeypatch.setattr(recording, "machine", lambda: "another machine")
    record("c", [row("peer", "x", 1, 2, "s")])
    assert "a,peer" not in results.read_text()


def test_jobs_of_a_study_are_added_up_by_stage(tmp_path: Path) -> None:
    times = {"train_sft/a": (3, 2), "train_sft/b": (5, 4), "msp/score_run/c": (7, 6), "d": (1, 1)}
    for name, (seconds, cpu) in times.items():
        file = tmp_path / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\tcpu_time\n{seconds}\t{cpu}\n")
    rows = {(row["setting"], row["unit"]): row["ours"] for row in verbs.stages(tmp_path)}
    assert rows == {
        ("train_sft: 2", "s"): "8", ("train_sft: 2", "CPU s"): "6",
        ("score_run: 1", "s"): "7", ("score_run: 1", "CPU s"): "6",
        ("all other jobs: 1", "s"): "1", ("all other jobs: 1", "CPU s"): "1",
    }  # fmt: skip


def test_each_figure_that_is_timed_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = figure_data.write_tables(tmp_path, {"en": "high", "el": "mid", "yo": "low"})
    figure_data.draw_once(monkeypatch)
    for name in startup.FIGURES:
        monkeypatch.setattr(sys, "argv", startup.replot(name, tables, tmp_path)[1:])
        import_module(name).main()
        assert (tmp_path / f"{name}.png").stat().st_size > 0


def test_statistics_find_the_known_truth(tmp_path: Path) -> None:
    paths = [paper_statistics.make_run(tmp_path, run, 3, 400) for run in range(2)]
    paper_statistics.run_ours(tmp_path, paths, 3, Namespace(replicates=50, processes=1))
    summary = pd.read_csv(tmp_path / "summary.csv")
    base = summary["sft"].isna() & (summary["metric"] == "gap")
    summary.loc[base, "value"] += 0.2
    with pytest.raises(SystemExit, match="the known truth was not found"):
        paper_statistics.check_truth(summary)
