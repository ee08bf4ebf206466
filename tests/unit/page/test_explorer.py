"""The data of the explorer, against the study's files read anew."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.markers import MarkerStyle

from multical import paths
from multical.errors import InputError
from multical.figures import language_names, msp_style
from multical.names import readout_name
from multical.page import contents, explorer, questions, shapes
from multical.workflow import msp_params
from support import explored
from support.explored import LANGUAGES, ROOT, RUNS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("explored")
    return explored.write(place, explored.answers(), explored.config())


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        data = explorer.data(explored.config(), ROOT)
    assert data is not None
    return data


def block(found: dict[str, Any], kind: str, **keys: Any) -> dict[str, Any]:
    (one,) = [x for x in found[kind] if all(x[key] == value for key, value in keys.items())]
    return one


def near(value: float | None, wanted: float) -> bool:
    return np.isnan(wanted) if value is None else value == pytest.approx(wanted, rel=1e-8)


def test_values_are_those_of_metrics_csv(folder: Path, found: dict[str, Any]) -> None:
    metrics = pd.read_csv(folder / paths.METRICS.format(root=ROOT))
    seen = 0
    for row in metrics.to_dict("records"):
        keys = ("run", "readout", "benchmark")
        cell = block(found, "cells", **{key: row[key] for key in keys})
        at = cell["languages"].index(row["language"])
        lists = cell["metrics"][row["metric"]]
        value, low, high = [*(numbers[at] for numbers in lists), None, None][:3]
        assert near(value, row["value"])
        assert near(low, row["ci_low"])
        assert near(high, row["ci_high"])
        assert cell["n"][at] == row["n"]
        assert found["languages"][row["language"]]["level"] == row["resource_level"]
        seen += 1
    assert seen == sum(len(cell["languages"]) * len(cell["metrics"]) for cell in found["cells"])
    assert set(found["metrics"]) == {*metrics["metric"], "confidence_at_equal_accuracy"}


def test_changes_are_those_of_effects_csv(folder: Path, found: dict[str, Any]) -> None:
    effects = pd.read_csv(folder / paths.EFFECTS.format(root=ROOT))
    keys = ["model", "sft", "benchmark", "before", "after", "readout"]
    for row in effects.to_dict("records"):
        change = block(found, "changes", **{key: row[key] for key in keys})
        at = change["languages"].index(row["language"])
        lists = change["metrics"][row["metric"]]
        for numbers, column in zip(lists, ("value", "ci_low", "ci_high", "p_holm"), strict=False):
            assert near(numbers[at], row[column])
    assert len(found["changes"]) == len(effects.drop_duplicates(keys))
    over = pd.read_csv(folder / paths.EFFECTS_OVER_LANGUAGES.format(root=ROOT))
    over = over[over["group"] == "non-english"]
    for row in over.to_dict("records"):
        change = block(found, "changes", **{key: row[key] for key in keys})
        assert near(change["means"][row["metric"]], row["value"])
    assert len(over) == sum(len(change["means"]) for change in found["changes"])


def test_points_are_those_of_the_diagrams(folder: Path, found: dict[str, Any]) -> None:
    bins = pd.read_csv(folder / paths.RELIABILITY_BY_LANG.format(root=ROOT))
    keys = ["run", "readout", "language", "point"]
    columns = ["n", "point_confidence", "point_accuracy", "point_low", "point_high"]
    points = bins.groupby(keys)[columns].agg({"n": "sum", **dict.fromkeys(columns[1:], "max")})
    for (run, readout, language), rows in points.groupby(level=[0, 1, 2]):
        shown = block(found, "diagrams", run=run, readout=readout)["points"][language]
        np.testing.assert_allclose(shown, rows[rows["n"] > 0].to_numpy(), rtol=1e-8)
    assert {x["readout"] for x in found["diagrams"]} == {"text_ppl", "letter"}  # a margin has none


def test_answers_are_those_of_the_records(folder: Path, found: dict[str, Any]) -> None:
    asked = found["questions"]["synthetic"]
    texts = pq.read_table(folder / paths.BENCHMARK.format(benchmark="synthetic")).to_pandas()
    texts = texts.set_index(["language", "question_id"])
    for run in RUNS:
        path = folder / paths.RECORDS.format(root=ROOT, run=run, benchmark="synthetic")
        (given,) = [x for x in asked["answers"] if (x["run"], x["readout"]) == (run, "text_ppl")]
        frame = pq.read_table(path).to_pandas().set_index(["language", "question_id"])
        for language in LANGUAGES:
            digits, sure = given["languages"][language]
            for at, place in enumerate(asked["asked"][language]):
                key = (language, asked["ids"][place])
                scores = np.array(frame.loc[key, "text_logliks"] / frame.loc[key, "text_tokens"])
                p = np.exp(scores) / np.exp(scores).sum()
                assert int(digits[at]) == p.argmax()
                assert sure[at] == pytest.approx(p.max(), abs=0.00051)
                assert int(asked["gold"][language][at]) == frame.loc[key, "gold"]
                question, options = asked["texts"][language][at]
                assert question == texts.loc[key, "question"]
                assert options == list(texts.loc[key, "options"])
                assert asked["subjects"][place] == frame.loc[key, "subject"]
                assert asked["cultures"][place] == frame.loc[key, "culture"]


def test_the_share_of_right_answers_is_the_accuracy(found: dict[str, Any]) -> None:
    asked = found["questions"]["synthetic"]
    for given in asked["answers"]:
        cell = block(found, "cells", run=given["run"], readout=given["readout"])
        for language, (digits, _) in given["languages"].items():
            gold = asked["gold"][language]
            right = sum(a == b for a, b in zip(digits, gold, strict=True)) / len(gold)
            accuracy = cell["metrics"]["accuracy"][0][cell["languages"].index(language)]
            assert right == pytest.approx(accuracy)


def test_a_readout_of_letters_lacks_languages_without_letters(found: dict[str, Any]) -> None:
    letters = block(found, "cells", run="one", readout="letter")
    assert letters["languages"] == [name for name in LANGUAGES if name != "bn"]


def test_the_inputs_are_all_that_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = explored.config()
    for name in explorer.inputs(settings, ROOT):
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((folder / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    assert explorer.data(settings, ROOT) is not None


def test_the_same_files_give_the_same_data(
    folder: Path, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    again = explorer.data(explored.config(), ROOT)
    assert explorer.embedded(again) == explorer.embedded(found)


def test_no_text_leaves_its_script_element(found: dict[str, Any]) -> None:
    text = explorer.embedded(found)
    assert not set("<>&\u2028\u2029") & set(text)
    assert "alert(1)" in text
    assert json.loads(text) == json.loads(json.dumps(found))
    assert explored.embedded_of(explored.page(found)) == json.loads(json.dumps(found))


def test_a_large_study_has_no_questions(
    folder: Path, monkeypatch: pytest.MonkeyPatch, found: dict[str, Any]
) -> None:
    rows = len(RUNS) * len(LANGUAGES) * explored.QUESTIONS
    assert found["records"]["count"] == rows
    monkeypatch.chdir(folder)
    monkeypatch.setattr(questions, "MOST_RECORDS", rows - 1)
    data = explorer.data(explored.config(), ROOT)
    assert data is not None
    assert data["questions"] is None
    assert data["records"]["questions"] == {
        "synthetic": paths.BENCHMARK.format(benchmark="synthetic")
    }


def test_long_texts_are_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(questions, "MOST_CHARACTERS", 100)
    data = explorer.data(explored.config(), ROOT)
    assert data is not None
    assert data["questions"]["synthetic"]["texts"] is None
    assert data["questions"]["synthetic"]["answers"]


def test_another_right_option_than_in_the_records_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    file = tmp_path / paths.BENCHMARK.format(benchmark="synthetic")
    table = pq.read_table(file).to_pylist()
    right = table[0]["answer"]
    table[0]["answer"] = (right + 1) % 4
    pq.write_table(pa.Table.from_pylist(table), file)
    monkeypatch.chdir(tmp_path)
    sentence = f"question 'q00000' in 'ar': found {table[0]['answer']} as right option, "
    with pytest.raises(InputError, match=sentence + f"expected {right} as in the records"):
        explorer.data(explored.config(), ROOT)


def test_one_base_model_whose_questions_are_in_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = explored.logs()
    explored.write(tmp_path, explored.answers(["one"], ["en", "he"]), settings)
    monkeypatch.chdir(tmp_path)
    assert not [name for name in explorer.inputs(settings, ROOT) if "effects" in name]
    data = explorer.data(settings, ROOT)
    assert data is not None
    assert data["changes"] == []
    assert [run["condition"] for run in data["runs"]] == ["base"]
    assert data["shown"]["conditions"] == ["base"]
    assert data["questions"]["synthetic"]["texts"] is None
    assert data["records"]["questions"] == {}


def test_metrics_and_readouts_have_plain_names(found: dict[str, Any]) -> None:
    assert found["metrics"]["debiased_ece2"] == "debiased ECE\u00b2"
    assert found["readouts"] == {
        name: readout_name(name) for name in ("text_ppl", "letter", "margin")
    }


@pytest.mark.parametrize("marker", msp_style.MARKERS)
def test_a_marker_has_the_shape_of_the_figures(marker: Any) -> None:
    outline = shapes.of_marker(marker)
    assert re.fullmatch(r"(M|L|C|Q|Z|,|-?\d+(\.\d+)?)+", outline)
    numbers = [float(x) for x in re.findall(r"-?\d+(?:\.\d+)?", outline)]
    x, y = np.array(numbers).reshape(-1, 2).T
    drawn = MarkerStyle(marker)
    ends = drawn.get_path().transformed(drawn.get_transform()).get_extents()
    assert max(x) <= 2 * ends.x1 + 0.13  # control points lie beyond a curve
    assert min(y) >= -2 * ends.y1 - 0.13
    assert 1.4 < max(x) - min(x) < 2.9


def test_the_shape_of_a_triangle_points_up() -> None:
    assert shapes.of_marker("^") == "M0,-1L-1,1L1,1Z"


def test_the_scripts_are_one_scope() -> None:
    text = explorer.script()
    assert text.startswith("(() => {\n'use strict';\n")
    assert text.endswith("})();\n")
    assert {explorer.HERE / name for name in contents.SCRIPTS} == set(explorer.HERE.rglob("*.js"))
    assert "</script" not in text


@pytest.mark.parametrize(
    ("tag", "name", "own", "script"),
    [
        ("ar", "Arabic", "العربية", "Arabic"),
        ("he", "Hebrew", "עברית", "Hebrew"),
        ("th", "Thai", "ไทย", "Thai"),
        ("hi", "Hindi", "हिन्दी", "Devanagari"),
        ("zh-Hant", "Traditional Chinese", "中文 (繁體)", "Traditional Han"),
        ("pt-BR", "Brazilian Portuguese", "português (Brasil)", "Latin"),
        ("qaa-x", "qaa-x", "qaa-x", ""),
    ],
)
def test_names_of_languages(tag: str, name: str, own: str, script: str) -> None:
    assert language_names.named(tag) == {"name": name, "own": own, "script": script}


def test_the_library_is_the_pinned_one_with_its_licences() -> None:
    text = explorer.library()
    for name in ("vega", "vega-lite", "d3-array", "topojson-client", "delaunator", "clone"):
        assert f"/*! {name}\n" in text
    assert "/*! react" not in text
    assert text.count("/*!") == (text + "\n").count("\n*/\n"), "no licence ends its comment"
    assert "vegaLite" in text
    assert "</script" not in text


@pytest.fixture(scope="module")
def duo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return explored.write_models(tmp_path_factory.mktemp("models"))


def test_models_have_the_values_and_scores_of_the_tables(
    duo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(duo)
    config = explored.models_config()
    found = explorer.data(config, explored.MODELS_ROOT)
    assert found is not None
    tables = {
        Path(name).stem: pd.read_csv(name) for name in explorer.inputs(config, explored.MODELS_ROOT)
    }
    points = tables["points"][tables["points"]["prompt"].isna()]
    assert len(found["points"]) == len(points) == 3 * 3
    looks = msp_style.styles(msp_params.answers(config, explored.MODELS_ROOT))
    assert {one["name"]: one["colour"] for one in found["models"]} == {
        name: look["color"] for name, look in looks.items()
    }
    for shown, row in zip(found["points"], points.to_dict("records"), strict=True):
        assert (shown["dataset"], shown["model"]) == (row["dataset"], row["model"])
        for name in found["values"]:
            assert near(shown[name], row[name])
    assert {"accuracy", "msp_auroc", "margin_auroc", "calibration_error_cells"} <= set(
        found["values"]
    )
    curves = {(x["dataset"], x["method"]): x for x in found["curves"]}
    for row in tables["score_curves"].to_dict("records"):
        curve = curves[row["dataset"], row["method"]]
        (at,) = np.flatnonzero(
            np.isclose(curve["thresholds"], row["threshold"], rtol=1e-8, atol=1e-12)
        )
        right, abstained = (numbers[at] for numbers in curve["models"][row["model"]])
        score = 100 * (right - found["schemes"][row["scheme"]] * (1 - right - abstained))
        assert score == pytest.approx(row["score"], abs=1e-6)
        assert 100 * abstained == pytest.approx(row["abstained"], abs=1e-6)
        cost = str(found["schemes"][row["scheme"]])
        assert row["chosen"] == (curve["chosen"][cost][row["model"]] == at)
