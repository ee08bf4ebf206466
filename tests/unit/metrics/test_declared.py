"""A metric, a readout and a claim of one's own need one definition, as docs/add.md says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from compute_metrics import compute
from multical import records
from multical.claims.schema import Change, Claims
from multical.config import schema
from multical.errors import InputError
from multical.metrics import declared, definitions, readouts
from multical.metrics.definitions import METRICS, Metric
from multical.params import validated
from multical.stats.estimates import BY_LANGUAGE, SUMMARY
from multical.stats.params import MetricsJob
from support import checkout
from support.synthetic import make_records

PAGE = (checkout.REPO / "docs/add.md").read_text("utf-8")


def section(title: str) -> str:
    return re.split(rf"^## {re.escape(title)}$", PAGE, flags=re.M)[1].partition("\n## ")[0]


def example(title: str) -> str:
    """The first indented block of a section of docs/add.md."""
    lines = section(title).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("    "))
    block = []
    for line in lines[start:]:
        if line and not line.startswith("    "):
            break
        block.append(line[4:])
    return "\n".join(block)


def test_names_are_those_of_the_definitions() -> None:
    assert list(declared.METRICS) == list(METRICS)
    assert list(declared.READOUTS) == list(readouts.READOUTS)
    assert list(declared.DISTRIBUTIONS) == list(readouts.SCORES)
    assert {name: metric.needs for name, metric in METRICS.items()} == declared.NEEDS
    flags = {name: (metric.tested, metric.recalibrated) for name, metric in METRICS.items()}
    assert set(declared.TESTED) == {name for name, (tested, _) in flags.items() if tested}
    assert set(declared.RECALIBRATED) == {name for name, (_, again) in flags.items() if again}


def test_a_new_entry_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(definitions.__file__).read_text("utf-8")
    entry = '    "own": Metric(accuracy, needs="score", tested=True),\n    "augrc": Metric('
    (tmp_path / "definitions.py").write_text(source.replace('    "augrc": Metric(', entry))
    monkeypatch.setattr(declared, "__file__", str(tmp_path / "declared.py"))
    own = declared.entries("definitions", "METRICS")["own"]
    assert own == {"needs": "score", "tested": True}
    with pytest.raises(LookupError, match=r"definitions.py: no OTHERS"):
        declared.entries("definitions", "OTHERS")


def halved(readout: Any, counts: Any = None) -> Any:
    return definitions.accuracy(readout, counts) / 2


def test_a_metric_without_a_fast_version_has_the_same_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "own", Metric(halved, "score"))
    path = tmp_path / "r.parquet"
    records.write(path, make_records(["base"], ["en", "sw"], 40, 0))
    params = MetricsJob.model_validate(
        {"readouts": ["text_ppl"], "bootstrap": {"replicates": 50},
         "resource_levels": {"en": "high", "sw": "low"}, "metrics": ["accuracy"]}
    ).model_copy(update={"metrics": ["accuracy", "own"]})  # fmt: skip
    for table, place in zip(compute([str(path)], params), ("language", "group"), strict=True):
        wide = table.set_index([place, "metric"])["value"].unstack()
        np.testing.assert_allclose(wide["own"], wide["accuracy"] / 2)
        assert table["ci_low"].notna().all()


def test_the_softmax_of_new_scores_is_a_readout() -> None:
    frame = make_records(["base"], ["en"], 40, 0)
    own = readouts._softmax_of("text_sum")(frame)
    np.testing.assert_array_equal(own.confidence, readouts.text_sum(frame).confidence)


def test_entropy_is_divided_by_that_of_a_guess() -> None:
    nan = float("nan")
    probabilities = np.array([[0.5, 0.5, nan], [1 / 3] * 3, [1.0, 0.0, nan], [0.9, 0.1, nan]])
    readout = readouts.Readout(
        np.nanmax(probabilities, axis=1), np.ones(4, bool), probabilities, np.zeros(4, int), True
    )
    (value,) = METRICS["normalised_entropy"](readout, None, 15)
    last = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1)) / np.log(2)
    assert value == pytest.approx((1 + 1 + 0 + last) / 4)


@pytest.mark.parametrize("after", [0.3, 0.05, "base"])
def test_a_claim_of_one_s_own(after: Any) -> None:
    raw = yaml.safe_load(example("A claim"))
    raw["claims"]["X1"]["parts"][0]["after"] = after
    (part,) = validated(Claims, raw, "claims.yaml").claims["X1"].parts
    assert isinstance(part, Change)
    assert part.after == after


def theirs(**source: Any) -> dict[str, Any]:
    raw = checkout.config()
    study = yaml.safe_load(example("Answers that others released"))
    study["results/theirs"]["source"] |= source
    return raw | {"studies": raw["studies"] | study}


def test_released_answers_need_no_repository() -> None:
    study: Any = schema.load(theirs()).studies["results/theirs"]
    assert (study.source.local, study.expected) == ("answers", None)
    with pytest.raises(InputError, match="no repository and no commit, expected both, or an arch"):
        schema.load(theirs(archive=None))
    with pytest.raises(InputError, match="no commit, expected both, or an archive"):
        schema.load(theirs(archive=None, repository="https://example.org/x"))


def columns(heading: str) -> list[str]:
    """The columns in the table of docs/add.md with that heading."""
    rows = section("Numbers of your own").partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [
        name for row in rows.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])
    ]


def test_the_columns_of_records_and_metrics_are_documented() -> None:
    assert columns("column of records") == records.SCHEMA.names
    assert set(columns("column of metrics")) == {*BY_LANGUAGE, *SUMMARY}


def test_the_lines_of_pandas_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = example("Numbers of your own")
    (path,) = re.findall(r"results/\S+\.parquet", code)
    (tmp_path / path).parent.mkdir(parents=True)
    frame = make_records(["base"], ["en", "sw"], 40, 0)
    records.write(tmp_path / path, frame)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    right = pd.Series(readouts.text_ppl(frame).correct).groupby(frame["language"].to_numpy()).mean()
    said = capsys.readouterr().out
    assert all(f"{share:g}" in said for share in right)
