"""compute_fertility.py: tokens a byte, from records of texts, of letters alone, and of some."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import compute_fertility
from multical.stats.params import FertilityJob
from support.synthetic import make_records, written

JOB = FertilityJob(resource_levels={"en": "high", "sw": "low"})
TEXTS = ["text_logliks", "text_tokens", "text_bytes"]


def test_tokens_are_divided_by_bytes(tmp_path: Path) -> None:
    """Sums over all options, not means of quotients; of each run on its own."""
    frame = make_records(["m", "m.facts.ls0.1.s0"], ["sw", "en"], 20, 0)
    frame["text_bytes"] = [[i + 1 + j for j in range(4)] for i in range(len(frame))]
    (found,) = compute_fertility.compute(written(tmp_path, frame), JOB)
    assert list(found["run"]) == ["m", "m", "m.facts.ls0.1.s0", "m.facts.ls0.1.s0"]
    assert list(found["language"]) == ["en", "sw"] * 2
    assert list(found["resource_level"]) == ["high", "low"] * 2
    for row in found.to_dict("records"):
        own = frame[(frame["run"] == row["run"]) & (frame["language"] == row["language"])]
        tokens = sum(sum(map(int, one)) for one in own["text_tokens"])
        size = sum(sum(one) for one in own["text_bytes"])
        assert (row["tokens"], row["bytes"], row["n"]) == (tokens, size, 20)
        assert row["fertility"] == pytest.approx(tokens / size, rel=1e-15)


def test_languages_without_texts_have_no_row(tmp_path: Path) -> None:
    frame = make_records(["m"], ["sw", "en"], 20, 0).astype(dict.fromkeys(TEXTS, object))
    frame.loc[frame["language"] == "sw", TEXTS] = None
    (found,) = compute_fertility.compute(written(tmp_path, frame), JOB)
    assert list(found["language"]) == ["en"]
    (none,) = compute_fertility.compute(written(tmp_path, frame.assign(text_bytes=None)), JOB)
    assert none.empty
    assert list(none) == compute_fertility.COLUMNS


def test_a_language_without_a_level_is_of_the_level_unknown(tmp_path: Path) -> None:
    paths = written(tmp_path, make_records(["m"], ["fr", "sw"], 20, 0))
    (found,) = compute_fertility.compute(paths, JOB)
    assert dict(found[["language", "resource_level"]].to_numpy()) == {"fr": "unknown", "sw": "low"}


def test_what_is_written(tmp_path: Path) -> None:
    frame = make_records(["m"], ["en"], 20, 0)
    (found,) = compute_fertility.compute(written(tmp_path, frame), JOB)
    compute_fertility.record_files.write(tmp_path / "f.csv", found)
    read = pd.read_csv(tmp_path / "f.csv")
    assert read["fertility"].tolist() == [0.25]  # by construction
    assert read["seed"].isna().all()
