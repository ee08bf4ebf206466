"""What a file of questions is like: of JSON Lines and Parquet, and of files that are none."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from multical.data import questions
from multical.data.outlines import outline, reported

ROWS = [
    {"question_id": str(i), "language": language, "question": "?", "answer": 0,
     "options": [str(x) for x in range(count)]}
    for i, (language, count) in enumerate([("en", 3), ("en", 4), ("en", 4), ("fr", 5)])
]  # fmt: skip


def test_both_formats(tmp_path: Path) -> None:
    texts = [*map(json.dumps, ROWS), "", "[1]", '{"language": "de"}']
    (tmp_path / "q.jsonl").write_text("\n".join(texts), encoding="utf-8")
    questions.write(tmp_path / "q.parquet", pd.DataFrame(ROWS))
    for name in ("q.jsonl", "q.parquet"):
        assert outline(tmp_path / name) == {"en": Counter({4: 2, 3: 1}), "fr": Counter({5: 1})}


@pytest.mark.parametrize("name", ["none.jsonl", "x.csv", "bad.jsonl", "bad.parquet"])
def test_what_cannot_be_read_has_none(tmp_path: Path, name: str) -> None:
    if name != "none.jsonl":
        (tmp_path / name).write_bytes(b"{\xff")
    assert outline(tmp_path / name) is None


def test_the_languages_that_a_report_counts(tmp_path: Path) -> None:
    report = tmp_path / "quiz.names.csv"
    assert reported(report) is None
    report.write_text("language,kind,questions\nen,a,1\nfr,a,1\nen,b,2\n", encoding="utf-8")
    assert reported(report) == {"en", "fr"}
    report.write_text("tongue\nen\n", encoding="utf-8")
    assert reported(report) is None
