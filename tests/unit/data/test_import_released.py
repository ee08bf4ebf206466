"""Import of released outputs: what it makes of good files, and says of bad ones."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from multical import records
from multical.data import released
from multical.data.release_params import Released
from multical.errors import InputError
from support import released_data as data
from support.msp_study import Study


def load(source: Path, **changes: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    options: dict[str, Any] = {
        "models": data.MAX_LOGITS,
        "datasets": data.DATASETS,
        "prompts": data.PROMPTS,
    }
    return released.records(released.files(source, "main_results"), **(options | changes))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return data.write(tmp_path / "main_results")


def file(release: Path, dataset: str = "arc", model: str = "Small-7b", start: int = 500,
         stop: int = 700, value: str = "norm") -> Path:  # fmt: skip
    return release / data.name(dataset, model, start, stop, value, "first_prompt")


def test_rows_are_the_lines_of_the_files(release: Path, tmp_path: Path) -> None:
    frame, summary = load(release)
    assert summary["files"] == 18
    assert len(frame) == 2 * 2 * (700 + 40)
    records.write(tmp_path / "r.parquet", frame)
    frame = records.read(tmp_path / "r.parquet")
    cell = frame.query("model == 'Small-7b' and benchmark == 'arc' and prompt == 'first_prompt'")
    assert cell["question_id"].tolist() == [f"{i:05d}" for i in range(700)]
    for start, stop in ((0, 500), (500, 700)):
        for value, column in (("norm", "msp"), ("raw", "max_logit")):
            lines = file(release, start=start, stop=stop, value=value).read_text().split("\n")[1:-1]
            rows = cell.iloc[start:stop]
            assert rows[column].tolist() == [float(line.split()[1]) for line in lines]
            assert rows["correct"].tolist() == [line.startswith("Correct") for line in lines]
    assert frame.loc[frame["model"] == "big", "max_logit"].isna().all()


def test_unparseable_answers_are_wrong(release: Path) -> None:
    path = file(release)
    lines = path.read_text().split("\n")
    lines[3] = "Unparseable 0.75"
    path.write_text("\n".join(lines))
    raw = file(release, value="raw")
    lines = raw.read_text().split("\n")
    lines[3] = "Unparseable 12"
    raw.write_text("\n".join(lines))
    frame, summary = load(release)
    row = frame.query("question_id == '00502' and model == 'Small-7b' and benchmark == 'arc'")
    assert row[["correct", "msp", "max_logit"]].iloc[0].tolist() == [False, 0.75, 12.0]
    assert summary["unparseable"] == {"Small-7b": 1, "big": 0}


def test_an_answer_graded_differently_in_both_files_has_two_rows(release: Path) -> None:
    path = file(release, value="raw")
    lines = path.read_text().split("\n")
    grade, logit = lines[1].split()
    lines[1] = f"{'Wrong' if grade == 'Correct' else 'Correct'} {logit}"
    path.write_text("\n".join(lines))
    frame, summary = load(release)
    assert summary["graded_differently_in_norm_and_raw"] == {"Small-7b": 1, "big": 0}
    rows = frame[frame["question_id"].str.startswith("00500") & (frame["model"] == "Small-7b")]
    norm, raw = rows[rows["prompt"] == "first_prompt"].to_dict("records")
    assert np.isnan(norm["max_logit"])
    assert np.isnan(raw["msp"])
    assert (norm["correct"], raw["correct"]) == (grade == "Correct", grade != "Correct")
    assert raw["max_logit"] == float(logit)


def break_file(path: Path, how: str) -> None:
    text = path.read_text()
    lines = text.split("\n")
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_text(text[: len(text) // 2])
    elif how == "a line short":
        path.write_text("\n".join([*lines[:-2], ""]))
    elif how == "empty":
        path.write_text("")
    elif how == "no header":
        path.write_text("\n".join(lines[1:]))
    elif how == "renamed":
        path.rename(path.with_name(path.name.replace("500to700", "500to600")))
    elif how == "carriage returns":
        path.write_bytes(text.replace("\n", "\r\n").encode())
    elif how == "binary":
        path.write_bytes(b"grade confidence_level\n" + bytes(range(256)))
    else:
        lines[2] = how
        path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "missing"),
        ("truncated", "expected 200"),
        ("a line short", "199 whole lines of answers, expected 200"),
        ("empty", "line 1"),
        ("no header", "line 1"),
        ("renamed", "expected 100"),
        ("carriage returns", "line 1"),
        ("binary", "expected 200"),
        ("Correct", "grade and a number"),
        ("Correct 0.5 0.5", "grade and a number"),
        ("Correct 0,5", "grade and a number"),
        ("Correct nan", "line 3: nan, expected a probability"),
        ("Correct inf", "line 3: inf, expected a probability"),
        ("Wrong 1.01", "line 3: 1.01, expected a probability"),
        ("Wrong -0.1", "line 3: -0.1, expected a probability"),
        ("Perhaps 0.5", "line 3: 'Perhaps', expected Correct or Wrong or Unparseable"),
        ("", "expected"),
    ],
)
def test_a_bad_file_is_named(release: Path, how: str, said: str) -> None:
    path = file(release)
    break_file(path, how)
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        load(release)
    stem = path.name.partition("-q")[0]
    assert f"{stem}-q500to" in str(caught.value)


def test_all_bad_files_are_named_at_once(release: Path) -> None:
    file(release, start=0, stop=500).unlink()
    break_file(file(release, "quiz", "big", 0, 40), "Perhaps 0.5")
    with pytest.raises(InputError) as caught:
        load(release)
    assert "arc_Small-7b-q0to500_no_abst_norm_logits_first_prompt.txt: missing" in str(caught.value)
    assert "'Perhaps'" in str(caught.value)
    assert str(caught.value).count(";") == 1


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("arc_Small-7b-q400to600_no_abst_norm_logits_first_prompt.txt", "twice"),
        ("arc_Small-7b-q700to900_no_abst_norm_logits_first_prompt.txt", "expected 700"),
        ("arc_other-q0to200_no_abst_norm_logits_first_prompt.txt", "unknown model 'other'"),
        ("x_big-q0to200_no_abst_norm_logits_first_prompt.txt", "unknown data set 'x'"),
        ("arc_big-q0to200_no_abst_norm_logits_third_prompt.txt", "unknown phrasing"),
        ("arc_big-q500to700_no_abst_raw_logits_first_prompt.txt", "no maximum logits"),
        ("arc_big.txt", "unexpected file name"),
    ],
)
def test_a_file_too_many_is_named(release: Path, new: str, said: str) -> None:
    (release / new).write_bytes(file(release).read_bytes())
    with pytest.raises(InputError, match=said) as caught:
        load(release)
    assert new in str(caught.value) or "q...to900" in str(caught.value)


def test_a_long_list_of_bad_files_is_cut(release: Path) -> None:
    for path in sorted(release.glob("arc_Small-7b-*")):
        path.unlink()
    with pytest.raises(InputError) as caught:
        load(release)
    assert str(caught.value).count("missing") == 3
    assert str(caught.value).endswith("; and 1 more")


def test_what_the_config_says_is_missing_may_be(release: Path) -> None:
    whole, _ = load(release)
    cell = ("arc", "Small-7b", "first_prompt")
    for value in ("norm", "raw"):
        file(release, start=0, stop=500, value=value).unlink()
    frame, summary = load(release, missing={cell: [(0, 500)]})
    assert summary["files"] == 16
    first = (whole["benchmark"] == "arc") & (whole["model"] == "Small-7b")
    first &= (whole["prompt"] == "first_prompt") & (whole["question_id"] < "00500")
    kept = whole[~first].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame, kept)
    for path in release.glob("arc_Small-7b-q500*first*"):
        path.unlink()
    frame, _ = load(release, missing={cell: [(0, 700)]})
    assert len(frame) == len(whole) - 700


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ([(500, 700)], "q0to500_no_abst_norm_logits_first_prompt.txt: missing, in one file"),
        ([(0, 400)], "q400to500_no_abst_norm_logits_first_prompt.txt: missing, in one file"),
        ([(0, 600)], "first_prompt.txt: found, but the config says that it is missing"),
    ],
)
def test_other_missing_files_are_named(release: Path, spans: Any, said: str) -> None:
    for value in ("norm", "raw"):
        file(release, start=0, stop=500, value=value).unlink()
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        load(release, missing={("arc", "Small-7b", "first_prompt"): spans})
    assert "twice" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"dataset": "none"}, "models.0.missing.0: found 'none', expected one of ['arc', 'quiz']"),
        ({"dataset": "arc", "prompts": ["x"]}, "found 'x', expected one of ['first_prompt'"),
        ({"dataset": "arc", "start": 700}, "found questions 700 to None, expected some of 700"),
        ({"dataset": "arc", "start": 5, "stop": 5}, "found questions 5 to 5, expected some"),
        ({"dataset": "quiz", "stop": 41}, "found questions 0 to 41, expected some of 40"),
    ],
)
def test_only_questions_of_the_config_can_be_missing(part: dict[str, Any], said: str) -> None:
    raw = Study(Path(), "", list(data.MODELS.values()), data.DATASETS).release()
    raw["models"] = [raw["models"][0] | {"missing": [part]}, *raw["models"][1:]]
    with pytest.raises(ValidationError, match=re.escape(said)):
        Released.model_validate(raw)


def test_a_model_lacks_a_cell_if_it_lacks_all_its_questions() -> None:
    raw = Study(Path(), "", list(data.MODELS.values()), data.DATASETS).release()
    parts = [{"dataset": "arc", "stop": 500}, {"dataset": "quiz", "start": 10}]
    raw["models"][0] = raw["models"][0] | {"missing": parts}
    job = Released.model_validate(raw)
    assert job.missing["quiz", "Small-7b", "second_prompt"] == [(10, 40)]
    assert job.without_a_cell == []
    parts.append({"dataset": "arc", "prompts": ["second_prompt"], "start": 500})
    assert Released.model_validate(raw).without_a_cell == ["Small-7b"]


def tar(release: Path, path: Path, mode: str = "w:xz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(release, "main_results")
    return path


@pytest.mark.parametrize("mode", ["w:xz", "w:gz", "w:bz2", "w"])
def test_an_archive_is_read_as_its_folder(release: Path, tmp_path: Path, mode: str) -> None:
    packed, _ = load(tar(release, tmp_path / "r.tar", mode))
    plain, _ = load(release)
    pd.testing.assert_frame_equal(packed, plain)
    pd.testing.assert_frame_equal(load(release.parent)[0], plain)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_damaged_archive_is_refused(release: Path, tmp_path: Path, share: float) -> None:
    path = tar(release, tmp_path / "r.tar.xz")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"r\.tar\.xz"):
        load(path)


def member(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    "info",
    [
        member("main_results/../../x.txt"),
        member("/main_results/x.txt"),
        member("main_results/x.txt", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("main_results/x.txt", type=tarfile.LNKTYPE, linkname="main_results/y.txt"),
        member("main_results/x.txt", type=tarfile.FIFOTYPE),
    ],
)
def test_a_member_that_leaves_the_archive_is_refused(
    release: Path, tmp_path: Path, info: tarfile.TarInfo
) -> None:
    path = tar(release, tmp_path / "r.tar", "w")
    with tarfile.open(path, "a") as archive:
        archive.addfile(info, io.BytesIO())
    with pytest.raises(InputError, match=re.escape(info.name)):
        load(path)


def test_a_member_twice_is_refused(release: Path, tmp_path: Path) -> None:
    path = tar(release, tmp_path / "r.tar", "w")
    with tarfile.open(path, "a") as archive:
        archive.add(file(release), f"main_results/{file(release).name}")
    with pytest.raises(InputError, match="twice in the source"):
        load(path)


def test_the_manifest_is_held_to(release: Path, tmp_path: Path) -> None:
    listing = tmp_path / "sums"
    listing.write_text(
        "".join(
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
            for path in release.glob("*.txt")
        )
    )
    manifest = released.read_manifest(listing)
    load(release, manifest=manifest)
    path = file(release)
    path.write_text(re.sub(r"Wrong (0\.\d)", r"Correct \1", path.read_text(), count=1))
    with pytest.raises(InputError, match=re.escape(path.name) + ": content differs"):
        load(release, manifest=manifest)
    listing.write_text("no digest\n")
    with pytest.raises(InputError, match="line 1"):
        released.read_manifest(listing)


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="missing"):
        load(tmp_path / "empty")
