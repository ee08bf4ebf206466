"""Records and metrics in the forms of other tools, and what they come to there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from compute_metrics import compute
from multical.bundle import every_eval_ever, exports, harness_samples
from multical.bundle.exports import Export, RecordFile
from multical.config import schema
from multical.data import questions
from multical.figures import tables
from multical.metrics import declared
from multical.stats import record_files
from multical.stats.params import MetricsJob
from support import checkout
from support.eval_schema import has_validator, metrics_of, read_back, validated
from support.synthetic import make_records, written

RUNS = ["tiny", "tiny.facts.ls0.1.s0"]
LANGUAGES = ["en", "fr"]
READOUTS = ["letter", "letter_full", "text_ppl", "text_sum", "text_byte"]
#: What logs of the harness have: no numbers of tokens
READ_BACK = {"letters": ["letter", "letter_full"], "texts": ["text_sum", "text_byte"]}
QUESTION = "What is the capital\u2028of {}?"  # a separator that ends lines for some programs
OPTIONS = ["Paris", "Lyon", "Brașov", "2"]
PARAMS = MetricsJob.model_validate(
    {
        "readouts": READOUTS,
        "metrics": list(declared.METRICS),
        "bins": 10,
        "bootstrap": {"replicates": 20, "seed": 0, "level": 0.95},
        "resource_levels": {"en": "high"},
    }
)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A study of two runs, with the texts of its questions."""
    folder = tmp_path_factory.mktemp("study")
    frame = make_records(RUNS, LANGUAGES, 60, 0).astype(object)
    sizes = pd.Series([[len(text.encode()) for text in OPTIONS]] * len(frame), frame.index)
    frame = frame.assign(text_bytes=sizes)
    asked = frame[frame["run"] == "tiny"]
    asked = asked.assign(
        question=asked["question_id"].map(QUESTION.format),
        options=pd.Series([OPTIONS] * len(asked), asked.index),
        answer=asked["gold"],
    )
    questions.write(folder / "synthetic.parquet", asked[questions.SCHEMA.names])
    paths = written(folder, frame)
    record_files.write(folder / "metrics.csv", compute(paths, PARAMS)[0])
    return Export(
        study="results/made",
        config=schema.load(checkout.config()),
        params=PARAMS,
        metrics=tables.read(folder / "metrics.csv", "metrics"),
        commit=None,
        made=1_700_000_100,
        files=[
            RecordFile("synthetic", path, 1_700_000_000, str(folder / "synthetic.parquet"))
            for path in paths
        ],
    )


def written_into(folder: Path, export: Export) -> Path:
    for part in export.parts():
        every_eval_ever.write(export, part, folder, "nobody")
        harness_samples.write(part, folder / "lm_eval")
    return folder


@pytest.fixture(scope="module")
def exported(export: Export, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_into(tmp_path_factory.mktemp("exported"), export)


def aggregates(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("data/*/*/*/*.json")):
        yield path, json.loads(path.read_text(encoding="utf-8"))


@has_validator
def test_the_validator_of_the_schema_has_nothing_to_say(exported: Path) -> None:
    assert validated(exported) == (0, "")


@has_validator
def test_the_validator_finds_what_is_wrong(exported: Path, tmp_path: Path) -> None:
    path, document = next(aggregates(exported))
    document["evaluation_results"][0]["score_details"]["score"] = 7
    wrong = tmp_path / path.relative_to(exported)
    wrong.parent.mkdir(parents=True)
    wrong.write_text(json.dumps(document), encoding="utf-8")
    code, said = validated(tmp_path)
    assert code == 1
    assert "score 7 is outside" in said


def test_results_are_those_of_the_table(export: Export, exported: Path) -> None:
    found = {
        (document["model_info"]["name"], result["evaluation_result_id"]): result
        for _, document in aggregates(exported)
        for result in document["evaluation_results"]
    }
    defined = export.metrics[np.isfinite(export.metrics["value"])]
    assert len(found) == len(defined)
    for row in defined.itertuples():
        result = found[row.run, f"{row.language}/{row.readout}/{row.metric}"]
        assert result["score_details"]["score"] == pytest.approx(row.value, abs=1e-15)
        interval = result["score_details"]["uncertainty"].get("confidence_interval")
        assert (interval is None) == np.isnan(row.ci_low)
        if interval:
            assert (interval["lower"], interval["upper"]) == (row.ci_low, row.ci_high)


def test_ece_can_be_computed_from_the_samples(export: Export, exported: Path) -> None:
    """By ten bins of equal width, in plain numpy."""
    for path, document in aggregates(exported):
        lines = path.with_name(f"{path.stem}_samples.jsonl").read_text("ascii").splitlines()
        rows = [json.loads(line) for line in lines]
        assert len(rows) == 60 * len(LANGUAGES) * 4  # letter_full has no distribution
        chosen = [
            row
            for row in rows
            if (row["metadata"]["language"], row["metadata"]["readout"]) == ("fr", "text_ppl")
        ]
        confidence = np.array([float(row["metadata"]["confidence"]) for row in chosen])
        right = np.array([row["evaluation"]["is_correct"] for row in chosen])
        bins = np.minimum((confidence * 10).astype(int), 9)
        gaps = [abs((confidence - right)[bins == i].sum()) for i in range(10)]
        (result,) = [
            result
            for result in document["evaluation_results"]
            if result["evaluation_result_id"] == "fr/text_ppl/ece"
        ]
        assert result["score_details"]["score"] == pytest.approx(sum(gaps) / 60)
        assert result["metric_config"]["lower_is_better"]
        assert result["metric_config"]["metric_parameters"] == {"readout": "text_ppl", "bins": 10}


def test_samples_have_the_questions_and_the_answer(exported: Path) -> None:
    path = next(exported.glob("data/synthetic/multical/tiny/*.jsonl"))
    row = json.loads(path.read_text("ascii").splitlines()[0])
    assert row["input"]["raw"] == QUESTION.format(row["sample_id"])
    answer = int(np.argmax(json.loads(row["metadata"]["probabilities"])))
    assert row["output"]["raw"] == [row["input"]["choices"][answer]]
    right = answer == int(row["metadata"]["gold"])
    assert row["evaluation"] == {"score": float(right), "is_correct": right}


@pytest.mark.parametrize("kind", READ_BACK)
def test_logs_read_back_to_the_same_metrics(
    export: Export, exported: Path, tmp_path: Path, kind: str
) -> None:
    """Up to the rounding of float32."""
    paths = []
    for part in export.parts():
        run = part.block.keys | {"prompt": "plain"}
        paths.append(read_back(exported, kind, run, tmp_path / f"{run['run']}.parquet"))
    again = metrics_of(paths, PARAMS, READ_BACK[kind])
    before = metrics_of([file.path for file in export.files], PARAMS, READ_BACK[kind])
    assert again.index.equals(before.index)
    assert again.to_numpy() == pytest.approx(before.to_numpy(), abs=2e-6, nan_ok=True)


def test_the_same_study_gives_the_same_bytes(
    export: Export, exported: Path, tmp_path: Path
) -> None:
    again = written_into(tmp_path, export)
    names = sorted(path.relative_to(exported) for path in exported.rglob("*") if path.is_file())
    assert len(names) == len(RUNS) * 2 + len(RUNS) * len(LANGUAGES) * 2
    for name in names:
        assert (again / name).read_bytes() == (exported / name).read_bytes()


@has_validator
def test_texts_that_are_not_shared_are_nowhere(export: Export, tmp_path: Path) -> None:
    files = [RecordFile(file.benchmark, file.path, file.made, None) for file in export.files]
    for part in Export(**{**vars(export), "files": files}).parts():
        every_eval_ever.write(export, part, tmp_path, "nobody")
        assert harness_samples.write(part, tmp_path / "lm_eval") == len(LANGUAGES)
    assert validated(tmp_path) == (0, "")
    assert not list(tmp_path.rglob("*_texts_*"))
    for path in tmp_path.rglob("*.json*"):
        assert "capital" not in path.read_text("utf-8")


def test_a_fine_tuned_run_is_a_model_of_ones_own(exported: Path) -> None:
    documents = {document["model_info"]["name"]: document for _, document in aggregates(exported)}
    tuned = documents[RUNS[1]]
    assert tuned["source_metadata"]["evaluator_relationship"] == "first_party"
    assert documents[RUNS[0]]["source_metadata"]["evaluator_relationship"] == "third_party"
    details = tuned["model_info"]["additional_details"]
    assert tuned["model_info"]["id"] == f"multical/{RUNS[1]}"
    assert [details[key] for key in ("base_model", "sft", "smoothing", "seed")] == [
        "tiny", "facts", "0.1", "0"
    ]  # fmt: skip


def test_each_metric_is_said_to_be_better_one_way_or_neither() -> None:
    known = every_eval_ever.HIGHER | every_eval_ever.NEITHER
    assert known <= set(declared.METRICS)
    assert not every_eval_ever.HIGHER & every_eval_ever.NEITHER
    lower = set(declared.METRICS) - known
    assert lower == {
        "ece", "ece_equal_mass", "rmsce", "mce", "debiased_ece2", "smece", "ece_classwise",
        "ece_all", "brier", "nll", "aurc", "augrc",
    }  # fmt: skip


def test_texts_of_null_columns_are_none() -> None:
    assert exports.text_or_none(pd.NA) is None
    assert exports.text_or_none("a") == "a"
