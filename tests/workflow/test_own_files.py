"""A study of one's own files: odd rows are left out, and learning rates compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from multical.data import conversations, questions
from support import checkout

ROOT = "results/smoke"
RATES = [1e-5, 2e-5]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.workflow
def test_own_questions_and_conversations(tmp_path: Path) -> None:
    folder = checkout.copy(tmp_path)
    asked = [
        {"question_id": f"q{i}", "language": language, "question": f"{i} + 1?",
         "options": [str(i), str(i + 1), "None"], "answer": 1 if i else None}
        for i in range(6) for language in ("en", "fr")
    ]  # fmt: skip
    said = [
        [
            {"role": "user", "content": f"{i}?"},
            {"role": "assistant", "content": str(i) if i else ""},
        ]
        for i in range(9)
    ]
    jsonl(folder / "quiz.jsonl", asked)
    jsonl(folder / "own.jsonl", [{"messages": messages} for messages in said])
    quiz = {"kind": "file", "path": "quiz.jsonl", "odd_rows": "leave_out"}
    raw = checkout.config(folder)
    study = raw["studies"][ROOT]
    study |= {"benchmarks": ["quiz"], "sft_data": ["own"], "languages": None}
    study["figures"] |= {"benchmark": "quiz", "sft": "own"}
    study["training"]["learning_rate"] = RATES
    raw["benchmarks"]["quiz"] = {"options": 3, "source": quiz}
    raw["sft_data"]["own"] = {"source": {"kind": "file", "path": "own.jsonl", "held_out": 3}}
    checkout.write_config(folder, raw | {"studies": {ROOT: study}})

    made = [f"results/inputs/{name}" for name in
            ("benchmarks/quiz.parquet", "sft/own.jsonl", "sft/own.heldout.jsonl")]  # fmt: skip
    checkout.snakemake(folder, *made)
    frame = questions.read(folder / made[0])
    assert len(frame) == 10
    assert frame["options"][0] == ["1", "2", "None"]
    report = pd.read_csv(folder / "results/inputs/benchmarks/quiz.names.csv")
    assert report[["questions", "left_out"]].to_numpy().tolist() == [[5, 1], [5, 1]]
    trained, held = (conversations.read(folder / name) for name in made[1:])
    assert (len(trained), len(held)) == (5, 3)
    assert {one["id"] for one in trained + held} == {f"line.{i}" for i in range(2, 10)}
    log = (folder / "logs/make_sft_data/own.log").read_text(encoding="utf-8")
    assert "left out: an empty answer (1: own.jsonl line 1)" in log

    told = checkout.snakemake(folder, "--dry-run", f"{ROOT}/metrics.csv")
    models = len(study["models"])
    assert told.count("rule evaluate_sft:") == models * len(RATES)
    assert told.count("rule choose_learning_rate:") == models
