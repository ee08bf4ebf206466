"""write_headline.py: three lines a model, with the numbers of the summary."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import write_headline
import write_msp_headline
from multical.errors import InputError
from multical.figures.params import Conditions
from support import figure_data

PARAMS = {key: figure_data.PARAMS[key] for key in Conditions.model_fields}
CELL = r"(\d\.\d{3}) \[(\d\.\d{3}), (\d\.\d{3})\]"
LINE = re.compile(rf"  (\S.*?) +ECE {CELL} +confidence {CELL} +accuracy {CELL}")

Write = Callable[..., list[str]]


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    return figure_data.write_tables(tmp_path)["summary"]


@pytest.fixture
def write(summary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Runs the program with some parameters changed; returns the lines."""

    def run(*more: str, **changes: Any) -> list[str]:
        text = json.dumps(PARAMS | changes)
        arguments = ["--summary", summary, "--params", text, "--output", tmp_path / "headline.txt"]
        arguments += more
        monkeypatch.setattr(sys, "argv", ["write_headline.py", *map(str, arguments)])
        write_headline.main()
        return (tmp_path / "headline.txt").read_text(encoding="utf-8").splitlines()

    return run


def test_studies_inside_are_named(write: Write) -> None:
    inside = ["a/headline.txt", "b/headline.txt"]
    assert write("--parts", *inside)[-2:] == [f"See also {path}" for path in inside]
    assert write("--parts") == write()


def test_it_says_what_means_leave_out_and_are_over(write: Write) -> None:
    assert "languages other than English, cldr-facts, readout text_ppl [" in write()[3]
    (_, _, _, line, *_) = write(least_questions=20, seed=None)
    assert "languages other than English with 20 questions or more, cldr-facts" in line
    assert "readout text_ppl, means over all training seeds [bootstrap interval]" in line


@pytest.mark.parametrize("smoothing", [0.1, 0.2])
def test_three_lines_a_model_with_the_numbers_of_the_summary(
    write: Write, summary: Path, smoothing: float
) -> None:
    lines = write(smoothing=smoothing)
    frame = pd.read_csv(summary)
    frame = frame[frame["group"] == "non-english"].set_index(["run", "metric"])
    suffixes = ["", ".facts.ls0.s0", f".facts.ls{smoothing:g}.s0"]
    labels = ["base", "SFT", f"SFT + smoothing {smoothing:g}"]
    for model in figure_data.MODELS:
        first = lines.index(model) + 1
        for line, suffix, label in zip(lines[first : first + 3], suffixes, labels, strict=True):
            found = LINE.fullmatch(line)
            assert found, line
            assert found[1] == label
            expected = frame.loc[[(model + suffix, m) for m in ("ece", "confidence", "accuracy")]]
            numbers = expected[["value", "ci_low", "ci_high"]].to_numpy().ravel()
            assert list(found.groups()[1:]) == [f"{number:.3f}" for number in numbers]
    assert sum(bool(LINE.fullmatch(line)) for line in lines) == 3 * len(figure_data.MODELS)


def test_it_says_what_was_made_and_where_to_look(write: Write) -> None:
    text = "\n".join(write())
    for said in ("results/demo/figures/ece_by_lang.pdf",
                 "`make report STUDY=demo` makes results/demo/index.html, all on one page.\n",
                 "40 languages other than English", "cldr-facts", "readout text_ppl"):  # fmt: skip
        assert said in text


def test_without_intervals_there_are_values_alone(write: Write, summary: Path) -> None:
    frame = pd.read_csv(summary).assign(ci_low=None, ci_high=None)
    frame.to_csv(summary, index=False)
    lines = write()
    assert re.fullmatch(
        r"  base +ECE \d\.\d{3} +confidence \d\.\d{3} +accuracy \d\.\d{3}", lines[5]
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"smoothing": 0.3}, "no rows for gemma3-270m, SFT \\+ smoothing 0.3"),
        ({"readout": "letter"}, "no rows with readout \\['letter'\\]"),
        ({"sft": "alpaca"}, "SFT set alpaca"),
        ({"seed": "no"}, "seed: found 'no', expected: Input should be a valid integer"),
        ({"colour": "red"}, "unknown keys \\['colour'\\]"),
    ],
)
def test_what_the_summary_lacks(
    write: Write, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        write(**changes)
    assert not (tmp_path / "headline.txt").exists()


def test_models_without_a_data_set_and_those_that_guess_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "auroc.csv").write_text(
        "dataset,model,accuracy,msp_auroc,msp_significant\nall,Big,0.5,0.75,1/2\n"
    )
    (tmp_path / "calibration.csv").write_text(
        "dataset,model,calibration_error_cells\nall,Big,0.125\n"
    )
    (tmp_path / "intervals.csv").write_text(
        "dataset,model,method,measure,prompt,ci_low\nall,Big,msp,accuracy,,0.25\n"
        "all,Bad,msp,accuracy,one,0.2\narc,Bad,msp,accuracy,,0.2\nall,Good,msp,accuracy,,0.26\n"
    )
    monkeypatch.chdir(tmp_path)
    named = "Left out, for want of a whole data set: A, B"
    guesses = "No better than a guess (0.25), by the interval of accuracy: Big"
    for changes, lines in (
        ({}, []),
        ({"left_out": ["A", "B"]}, [named]),
        ({"left_out": ["A", "B"], "guess": 0.25}, [guesses, named]),
        ({"guess": 0.2}, []),
    ):
        text = json.dumps({"study": "results/x", **changes})
        arguments = ["--params", text, "--output", "headline.txt"]
        arguments += ["--auroc", "auroc.csv", "--calibration", "calibration.csv"]
        arguments += ["--intervals", "intervals.csv"]
        monkeypatch.setattr(sys, "argv", ["write_msp_headline.py", *arguments])
        write_msp_headline.main()
        found = (tmp_path / "headline.txt").read_text(encoding="utf-8").splitlines()
        assert found[4].split() == ["Big", "0.500", "0.750", "1/2", "0.125"]
        assert found[5:] == lines
