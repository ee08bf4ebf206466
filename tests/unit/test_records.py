from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multical import records
from multical.errors import InputError
from support.synthetic import make_records

KEYS = {
    "run": "m",
    "model": "m",
    "benchmark": "b",
    "prompt": "p",
    "language": "en",
    "question_id": "q1",
}


def row(**changes: Any) -> dict[str, Any]:
    """A row with two options, as scoring writes it."""
    filled = {
        "n_options": 2,
        "gold": 0,
        "letter_logits": [1.0, 2.0],
        "logsumexp": 3.0,
        "prompt_tokens": 9,
        "text_logliks": [-1.0, 0.0],
        "text_tokens": [1, 3],
        "text_bytes": [4, 12],
        "text_logliks_alone": [-2.0, -0.5],
    }
    return KEYS | filled | changes


def round_trip(path: Path, rows: list[dict[str, Any]]) -> pd.DataFrame:
    records.write(path, pd.DataFrame(rows))
    return records.read(path)


def test_round_trip_keeps_values_and_types(tmp_path: Path) -> None:
    made = round_trip(tmp_path / "r.parquet", [row(question_id="q2", subject="law"), row()])
    assert list(made) == records.SCHEMA.names
    assert list(made["question_id"]) == ["q1", "q2"]
    assert made["subject"].to_list()[1] == "law"
    assert made["subject"].isna().to_list() == [True, False]
    assert made["run"].dtype == "category"
    for name, kind in (("letter_logits", np.float32), ("text_tokens", np.int32)):
        assert made[name][0].dtype == kind
        np.testing.assert_array_equal(made[name][0], row()[name])
    assert made[["sft", "smoothing", "seed", "msp"]].isna().all(axis=None)


def test_bounds_of_letters_where_an_api_was_asked(tmp_path: Path) -> None:
    asked = row(question_id="q2", letter_bounds=[False, True])
    for name in ("text_logliks", "text_tokens", "text_bytes", "text_logliks_alone"):
        del asked[name]
    made = round_trip(tmp_path / "r.parquet", [asked, row()])
    assert made["letter_bounds"][0] is None
    assert made["letter_bounds"][1].tolist() == [False, True]
    assert made["text_tokens"].isna().tolist() == [False, True]
    compact = records.read(tmp_path / "r.parquet", compact=True)
    assert compact["letter_bounds"].isna().tolist() == [True, False]


def test_reading_what_was_read_gives_the_same_bytes(tmp_path: Path) -> None:
    frame = make_records(["m", "m.facts.ls0.1.s0"], ["sw", "en"], 30, 0)
    records.write(tmp_path / "a.parquet", frame)
    records.write(tmp_path / "b.parquet", records.read(tmp_path / "a.parquet"))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_neither_the_order_of_rows_nor_of_categories_shows(tmp_path: Path) -> None:
    frame = make_records(["m"], ["sw", "en", "fr"], 30, 0)
    frame = frame[frame["language"] != "fr"]  # still a category
    plain = frame.astype({"language": object})
    turned = frame.assign(language=frame["language"].cat.reorder_categories(["sw", "fr", "en"]))
    contents = set()
    for number, one in enumerate((frame, plain, turned, turned.sample(frac=1, random_state=0))):
        path = tmp_path / f"{number}.parquet"
        records.write(path, one)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_files_are_read_in_order_with_their_categories_united(tmp_path: Path) -> None:
    paths = [tmp_path / "b.parquet", tmp_path / "a.parquet"]
    records.write(paths[0], pd.DataFrame([row(run="z")]))
    records.write(paths[1], pd.DataFrame([KEYS | {"correct": True, "msp": 0.5}]))
    made = records.read(paths)
    assert list(made["run"]) == ["z", "m"]
    assert made["run"].dtype == "category"
    assert made["gold"].isna().to_list() == [False, True]
    with pytest.raises(InputError, match=r"b.parquet, .*two rows for {'run': 'z'"):
        records.read([paths[0], paths[0]])
    with pytest.raises(InputError, match="no files"):
        records.read([])


@pytest.mark.parametrize("empty", [None, np.nan, pd.NA])
def test_null_columns_of_any_kind(empty: Any, tmp_path: Path) -> None:
    absent = dict.fromkeys(["sft", "subject", "smoothing", "seed", "msp", "letter_logits"], empty)
    made = round_trip(tmp_path / "r.parquet", [row(**absent), row(**absent, question_id="q2")])
    assert made[list(absent)].isna().all(axis=None)


def test_no_rows(tmp_path: Path) -> None:
    made = round_trip(tmp_path / "r.parquet", [])
    assert made.empty
    assert list(made) == records.SCHEMA.names


def test_ten_options_and_odd_texts(tmp_path: Path) -> None:
    wide = {name: [*range(1, 11)] for name in ("letter_logits", "text_tokens", "text_bytes")}
    wide |= dict.fromkeys(("text_logliks", "text_logliks_alone"), [-0.5] * 10)
    ten = row(n_options=10, gold=9, **wide, subject="ሕግ, \n'law'")
    made = round_trip(tmp_path / "r.parquet", [ten, row(question_id="q0")])
    assert len(made["letter_logits"][1]) == 10
    assert made["subject"][1] == "ሕግ, \n'law'"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"question_id": None}, "row 1: question_id: expected a value"),
        ({"language": None}, "row 1: language: expected a value"),
        ({"question_id": "q1"}, "two rows for {'run': 'm', .*'question_id': 'q1'}, expected one"),
        ({"n_options": 1}, "row 1: n_options: expected 2 to 10"),
        ({"n_options": 11}, "row 1: n_options: expected 2 to 10"),
        ({"gold": 2}, "row 1: gold: expected an index below n_options"),
        ({"gold": -1}, "row 1: gold: expected an index"),
        ({"gold": None}, "row 1: gold: expected an index"),
        ({"letter_logits": [1.0]}, "row 1: letter_logits: expected one value per option"),
        ({"letter_logits": []}, "row 1: letter_logits: expected one value per option"),
        ({"letter_bounds": [True]}, "row 1: letter_bounds: expected one value per option"),
        ({"text_tokens": [1, 2, 3]}, "row 1: text_tokens: expected one value per option"),
        ({"n_options": None, "gold": None}, "row 1: letter_logits: expected one value per"),
        ({"letter_logits": [1.0, np.nan]}, "row 1: letter_logits: expected finite values"),
        ({"letter_logits": [1.0, None]}, "row 1: letter_logits: expected finite values"),
        ({"text_logliks": [-1.0, -np.inf]}, "row 1: text_logliks: expected finite values"),
        ({"text_logliks": [-1.0, 0.1]}, "row 1: text_logliks: expected finite values in range"),
        ({"text_tokens": [0, 1]}, "row 1: text_tokens: expected finite values in range"),
        ({"text_bytes": [1, 0]}, "row 1: text_bytes: expected finite values in range"),
        ({"text_bytes": [1]}, "row 1: text_bytes: expected one value per option"),
        ({"text_logliks_alone": [-1.0]}, "row 1: text_logliks_alone: expected one value per"),
        ({"text_logliks_alone": [0.1, -1.0]}, "row 1: text_logliks_alone: expected finite values"),
        ({"logsumexp": np.inf}, "row 1: logsumexp: expected a finite number"),
        ({"max_logit": -np.inf}, "row 1: max_logit: expected a finite number"),
        ({"msp": 1.01}, r"row 1: msp: expected a probability in \[0, 1\]"),
        ({"msp": -0.1}, "row 1: msp: expected a probability"),
        ({"confidence": 0.5}, r"unknown record columns \['confidence'\]"),
    ],
)
def test_each_rule_has_its_sentence(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"r.parquet: {sentence}"):
        records.write(
            tmp_path / "r.parquet", pd.DataFrame([row(), row(question_id="q2") | changes])
        )
    assert not list(tmp_path.iterdir())


def test_reading_checks_too_and_names_the_file_and_its_row(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.parquet", tmp_path / "bad.parquet"
    records.write(good, pd.DataFrame([row(), row(question_id="q2")]))
    table = pq.read_table(good)
    place = table.schema.get_field_index("msp")
    msp = pa.array([None, 2.0], pa.float64())
    pq.write_table(table.set_column(place, table.schema.field("msp"), msp), bad)
    with pytest.raises(InputError, match=r"bad\.parquet: row 1: msp"):
        records.read([good, bad])


def test_what_is_no_records_file(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    with pytest.raises(InputError, match="not a readable Parquet file"):
        records.read(path)
    path.write_bytes(b"PAR1 garbage")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        records.read(path)
    pd.DataFrame({"run": ["m"], "extra": [1]}).to_parquet(path)
    for look in (records.read, records.contents):
        with pytest.raises(InputError, match=r"not a records file; columns .*'extra'"):
            look(path)
