"""Import of logs that lm-evaluation-harness wrote itself (tests/support/data/harness/README.md)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multical import files, records
from multical.data import harness_logs
from multical.errors import InputError
from multical.metrics import definitions
from multical.metrics.readouts import READOUTS
from support import forks
from support.checkout import REPO

LOGS = REPO / "tests/support/data/harness"
TEXTS = str(LOGS / "samples_quiz_2*.jsonl")
LETTERS = str(LOGS / "samples_quiz_letters_fr_*.jsonl")
RUN = {
    "run": "tiny", "model": "tiny", "sft": None, "smoothing": None, "seed": None,
    "benchmark": "quiz", "prompt": "harness",
}  # fmt: skip
SCRIPT = Path(__file__).parents[3] / "scripts" / "import_harness.py"


def lines(pattern: str) -> list[dict[str, Any]]:
    (path,) = files.find(pattern)
    return [json.loads(line) for line in path.read_text().splitlines()]


def imported(pattern: str, path: Path) -> Any:
    frame = harness_logs.read(files.find(pattern))
    records.write(path, harness_logs.records({"en": frame}, RUN))
    return records.read(path)


@pytest.mark.parametrize(
    ("pattern", "readout", "column"),
    [(TEXTS, "text_sum", "text_logliks"), (LETTERS, "letter", "letter_logits")],
)
def test_records_say_what_the_log_says(
    pattern: str, readout: str, column: str, tmp_path: Path
) -> None:
    frame = imported(pattern, tmp_path / "r.parquet")
    for row, sample in zip(frame.to_dict("records"), lines(pattern), strict=True):
        logliks = [float(pair[0]) for pair in sample["filtered_resps"]]
        assert row[column].tolist() == np.array(logliks, np.float32).tolist()
        assert row["gold"] == sample["doc"]["answer"]
        assert row["n_options"] == len(sample["doc"]["options"])
    read = READOUTS[readout](frame)
    assert read.correct.tolist() == [bool(sample["acc"]) for sample in lines(pattern)]
    assert definitions.accuracy(read)[0] == 0.25  # as the harness reported
    assert read.probabilities is not None
    assert np.nansum(read.probabilities, axis=1) == pytest.approx(1)


def test_letters_keep_their_mass_in_the_full_vocabulary(tmp_path: Path) -> None:
    frame = imported(LETTERS, tmp_path / "r.parquet")
    best = [max(float(r[0]) for r in sample["filtered_resps"]) for sample in lines(LETTERS)]
    assert READOUTS["letter_full"](frame).confidence == pytest.approx(np.exp(best), rel=1e-5)


def test_perplexity_needs_tokens_that_logs_lack(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="text_tokens"):
        READOUTS["text_ppl"](imported(TEXTS, tmp_path / "r.parquet"))


def test_bytes_of_texts_are_those_of_the_options(tmp_path: Path) -> None:
    frame = imported(TEXTS, tmp_path / "r.parquet")
    for row, sample in zip(frame.to_dict("records"), lines(TEXTS), strict=True):
        wanted = [len(option.encode()) for option in sample["doc"]["options"]]
        assert row["text_bytes"].tolist() == wanted
    READOUTS["text_byte"](frame)
    assert imported(LETTERS, tmp_path / "l.parquet")["text_bytes"].isna().all()


def call(tmp_path: Path, *samples: str, **changes: Any) -> subprocess.CompletedProcess[str]:
    params = RUN | {"id_field": None, "subject_field": None} | changes
    return forks.run(
        [sys.executable, str(SCRIPT), "--params", json.dumps(params),
         "--records", str(tmp_path / "out.parquet"), "--samples", *samples],
    )  # fmt: skip


def test_the_program_imports_several_languages(tmp_path: Path) -> None:
    done = call(tmp_path, f"en={TEXTS}", f"fr={LETTERS}", id_field="question")
    assert done.returncode == 0, done.stderr
    frame = records.read(tmp_path / "out.parquet")
    assert frame.groupby("language", observed=True)["question_id"].nunique().to_dict() == {
        "en": 8,
        "fr": 8,
    }
    assert "Which animal barks?" in set(frame["question_id"])


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (["en=nowhere/*.jsonl"], "no such file"),
        ([TEXTS], "expected LANGUAGE=GLOB"),
        ([f"en={TEXTS}", f"en={TEXTS}"], "each language once"),
        ([f"en={LOGS}/samples_*.jsonl"], "several logs of one language"),
    ],
)
def test_bad_arguments_get_a_sentence(tmp_path: Path, samples: list[str], said: str) -> None:
    done = call(tmp_path, *samples)
    assert done.returncode != 0
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert not (tmp_path / "out.parquet").exists()


def changed(**fields: Any) -> dict[str, Any]:
    return lines(TEXTS)[0] | fields


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", "not a sample"),
        ("[1]", "not a sample"),
        (json.dumps(changed(filtered_resps=["a generated text"])), "not a sample"),
        (json.dumps(changed(filtered_resps=[["-1.0", "False"]])), "4 requests and 1 answers"),
        (json.dumps(changed(target="9")), "neither an index"),
        (json.dumps(changed(target="Madrid")), "neither an index"),
        (json.dumps(changed(acc=1.0)), "is the likeliest"),
        (json.dumps(changed(arguments={
            f"gen_args_{i}": {"arg_0": f"context {i}", "arg_1": " same end"} for i in range(4)
        })), "options that continue one context"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_sample_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "samples_x.jsonl"
    path.write_text(json.dumps(lines(TEXTS)[1]) + "\n" + line + "\n")
    with pytest.raises(InputError, match="line 2") as caught:
        harness_logs.read([path])
    assert said in str(caught.value)


def test_a_target_may_be_the_option_itself(tmp_path: Path) -> None:
    path = tmp_path / "samples_x.jsonl"
    path.write_text(json.dumps(changed(target=" Paris")) + "\n")
    assert harness_logs.read([path])["gold"].tolist() == [0]


def log(path: Path, *questions: dict[str, Any]) -> Path:
    """A log of questions, each given by options, target, and acc if there is one.

    The first option is always the likeliest.
    """
    samples = []
    for number, question in enumerate(questions):
        options = question["options"]
        told = {key: value for key, value in question.items() if key != "options"}
        samples.append(told | {
            "doc_id": str(number),
            "doc": {"options": options, "name": f"q{number}"},
            "arguments": {f"gen_args_{i}": {"arg_0": "Q:", "arg_1": f" {option}"}
                          for i, option in enumerate(options)},
            "filtered_resps": [[str(-1.0 - i), "False"] for i in range(len(options))],
        })  # fmt: skip
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples), encoding="utf-8")
    return path


NUMBERS = ["3", "1", "2", "0"]


@pytest.mark.parametrize(
    ("questions", "golds"),
    [
        # indices, though they are also texts of options: acc says so
        ([{"options": NUMBERS, "target": "0", "acc": 1.0}], [0]),
        ([{"options": NUMBERS, "target": "3", "acc": 0.0}], [3]),
        # texts, though they are also indices
        ([{"options": NUMBERS, "target": "3", "acc": "1.0"}], [0]),
        ([{"options": NUMBERS, "target": "0", "acc": "0.0"}], [3]),
        # another question tells
        ([{"options": NUMBERS, "target": "2"}, {"options": ["5", "7"], "target": "7"}], [2, 1]),
        ([{"options": NUMBERS, "target": "3"}, {"options": ["5", "7"], "target": "1"}], [3, 1]),
        # as large as no index, with signs, points and zeros in front
        ([{"options": ["12", "-5", "0.5", "01"], "target": "01"}], [3]),
        ([{"options": ["12", "-5", "0.5", "01"], "target": "-5"}], [1]),
        ([{"options": ["\u00b2", "\u00b3"], "target": "\u00b3"}], [1]),
        ([{"options": ["None", "nan", "null", "NA"], "target": "null"}], [2]),
        ([{"options": ["2020-01-01", "2021-01-01"], "target": "1"}], [1]),
        # both readings say the same
        ([{"options": ["0", "1"], "target": "1"}], [1]),
    ],
)
def test_options_may_be_numbers(
    tmp_path: Path, questions: list[dict[str, Any]], golds: list[int]
) -> None:
    found = harness_logs.read([log(tmp_path / "samples_x.jsonl", *questions)])
    assert found["gold"].tolist() == golds
    sizes = [[len(o.encode()) for o in question["options"]] for question in questions]
    assert found["text_bytes"].tolist() == sizes


def test_a_target_that_may_be_an_index_or_a_text_is_refused(tmp_path: Path) -> None:
    path = log(tmp_path / "samples_x.jsonl", {"options": NUMBERS, "target": "3"})
    with pytest.raises(InputError, match="line 1: target '3' is both the index of an option and"):
        harness_logs.read([path])


def test_all_bad_lines_are_named(tmp_path: Path) -> None:
    path = log(tmp_path / "samples_x.jsonl", *3 * [{"options": ["x", "y"], "target": "1"}])
    good, _, _ = path.read_text().splitlines()
    bad = [good.replace('"target": "1"', '"target": "z"'), "[" * 10**5, '"\\ud800"', good]
    path.write_text("\n".join([good, *bad, "7"]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        harness_logs.read([path])
    assert str(caught.value) == (
        f"{path}: line 3: not a sample of a multiple-choice task of lm-evaluation-harness "
        "(ValueError: found lists or objects too deep inside each other); 3 rows in all: "
        f"no sample (3: {path} lines 3, 4, 6)"
    )


@pytest.mark.parametrize(
    ("changes", "pairs"),
    [
        ({}, 0),  # numbers of lines say nothing across languages
        ({"parallel": True}, 2),
        ({"parallel": False}, 0),
        ({"id_field": "name"}, 2),
        ({"id_field": "name", "parallel": True}, 2),
        ({"id_field": "name", "parallel": False}, 0),
    ],
)
def test_questions_are_paired_across_languages_if_told(
    tmp_path: Path, changes: dict[str, Any], pairs: int
) -> None:
    questions = [{"options": ["x", "y"], "target": "1"}, {"options": ["u", "v"], "target": "0"}]
    paths = [log(tmp_path / f"samples_{name}.jsonl", *questions) for name in ("en", "fr")]
    done = call(tmp_path, f"en={paths[0]}", f"fr={paths[1]}", **changes)
    assert done.returncode == 0, done.stderr
    ids = records.read(tmp_path / "out.parquet").groupby("language", observed=True)["question_id"]
    english, french = (set(group) for _, group in ids)
    assert len(english) == len(french) == 2
    assert len(english & french) == pairs
    # the same language has the same ids alone, so that runs can be compared
    assert call(tmp_path, f"fr={paths[1]}", **changes).returncode == 0
    assert set(records.read(tmp_path / "out.parquet")["question_id"]) == french


def test_a_question_logged_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples_x.jsonl"
    path.write_text(2 * (json.dumps(lines(TEXTS)[0]) + "\n"))
    with pytest.raises(InputError, match="two rows"):
        imported(str(path), tmp_path / "r.parquet")
