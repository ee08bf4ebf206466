"""The data sets of paper 2 from the hub: order, options, few-shot examples, and odd rows."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import make_benchmark
from multical import paths
from multical.config import schema
from multical.data import questions
from multical.errors import InputError
from multical.params import canonical
from multical.scoring import prompting
from multical.workflow import job_params
from support import choice_repos, hub_repos
from support.hub_repos import Rows
from support.hub_server import Hub, Repo

SEED = 2549900867
KINDS = sorted(choice_repos.SOURCE)
#: Splits that are asked
ASKED = {
    "arc": ["train", "validation", "test"],
    "hellaswag": ["train"],
    "mmlu": ["test"],
    "truthfulqa": ["validation"],
    "winogrande": ["train", "validation"],
}


def serve(served: Hub, kind: str, by_split: dict[str, Rows] | None = None) -> Repo:
    """A data set at the hub under its own name."""
    return served.add("datasets", choice_repos.SOURCE[kind][0], choice_repos.files(kind, by_split))


Program = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Makes the questions of a config's entry, or its examples; the folder of what it wrote."""

    def run(kind: str, repo: Repo, examples: bool = False, **changes: Any) -> Path:
        source = {"kind": kind, "repo": repo.name, "revision": repo.revision, "seed": SEED}
        entry = {"source": source | {"odd_rows": "leave_out"} | changes, "options": None}
        made = schema.Config.model_construct(
            benchmarks={"b": schema.Benchmark.model_validate(entry)}
        )
        settings = job_params.benchmark(made, "b", paths.FEWSHOT if examples else "")
        out = tmp_path / "out"
        flags = ["--params", canonical(settings), "--output", out / "q.parquet"]
        flags += ["--report", out / "names.csv", "--about", out / "about.json"]
        monkeypatch.setattr(sys, "argv", [make_benchmark.__file__, *map(str, flags)])
        make_benchmark.main()
        return out

    return run


def read(folder: Path) -> pd.DataFrame:
    return questions.read(folder / "q.parquet").set_index("question_id")


def known(kind: str) -> dict[str, tuple[str, list[str], str, str | None]]:
    """Question, options, right one and subject by id, read independently, in source order."""
    found = {}
    for split in ASKED[kind]:
        for number, row in enumerate(choice_repos.rows(kind)[split]):
            name, subject = f"{split}.{number}", None
            match kind:
                case "arc":
                    name, texts = row["id"], row["choices"]["text"]
                    right = dict(zip(row["choices"]["label"], texts, strict=True))[row["answerKey"]]
                    asked = row["question"]
                case "hellaswag":
                    asked, texts = row["ctx"], row["endings"]
                    right = texts[int(row["label"])]
                case "mmlu":
                    asked, texts, subject = row["question"], row["choices"], row["subject"]
                    right = texts[row["answer"]]
                case "truthfulqa":
                    asked, texts = row["question"], row["mc1_targets"]["choices"]
                    right = texts[0]
                case _:
                    asked, texts = row["sentence"], [row["option1"], row["option2"]]
                    right = texts["12".index(row["answer"])]
            found[name] = (asked, list(texts), right, subject)
    return found


def ordered(kind: str) -> list[str]:
    """The ids in the order that questions are taken in: another reading of the promise."""
    names = [*known(kind)]
    random.Random(SEED).shuffle(names)
    return names


@pytest.mark.parametrize("kind", KINDS)
def test_all_questions_of_a_data_set(served: Hub, make: Program, kind: str) -> None:
    repo = serve(served, kind)
    out = make(kind, repo)
    frame = read(out)
    source = known(kind)
    assert set(frame.index) == set(source)
    assert set(frame["language"]) == {"en"}
    for name, (asked, texts, right, subject) in source.items():
        row = frame.loc[name]
        assert (row["question"], row["subject"]) == (asked, subject)
        assert row["options"][row["answer"]] == right
        random.Random(f"{SEED}:{name}").shuffle(texts)
        assert row["options"] == texts or (len(texts) > 10 and len(row["options"]) == 10)
    assert frame["answer"].nunique() > 1
    report = pd.read_csv(out / "names.csv")
    assert report["questions"].sum() == len(source)
    assert report["left_out"].sum() == 0
    about = json.loads((out / "about.json").read_text())
    assert about["source"]["seed"] == SEED
    assert about["files"] == {
        path: hashlib.sha256(content).hexdigest()
        for path, content in repo.files.items()
        if path.split("/")[-1].split("-")[0] in ASKED[kind]
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_of_a_seeded_order(served: Hub, make: Program, kind: str) -> None:
    repo = serve(served, kind)
    first = make(kind, repo, questions=7)
    content = (first / "q.parquet").read_bytes()
    assert set(read(first).index) == set(ordered(kind)[:7])
    assert (make(kind, repo, questions=7) / "q.parquet").read_bytes() == content
    some, every = read(first), read(make(kind, repo))
    assert some["options"].to_dict() == every.loc[some.index, "options"].to_dict()
    other = read(make(kind, repo, questions=7, seed=1))
    assert set(other.index) != set(some.index)


def test_no_order_of_options_depends_on_another_question(served: Hub, make: Program) -> None:
    every = read(make("hellaswag", serve(served, "hellaswag")))
    fewer = choice_repos.rows("hellaswag")
    fewer["train"] = fewer["train"][:-9]
    some = read(make("hellaswag", serve(served, "hellaswag", fewer)))
    assert len(some) == len(every) - 9
    assert some["options"].to_dict() == every.loc[some.index, "options"].to_dict()


def test_of_more_than_ten_options_the_right_one_and_nine_stay(served: Hub, make: Program) -> None:
    out = make("truthfulqa", serve(served, "truthfulqa"))
    frame, source = read(out), known("truthfulqa")
    sizes = {name: len(texts) for name, (_, texts, _, _) in source.items()}
    assert max(sizes.values()) == 13
    assert frame["options"].map(len).to_dict() == {n: min(s, 10) for n, s in sizes.items()}
    for name, row in frame.iterrows():
        assert set(row["options"]) <= set(source[str(name)][1])
    assert pd.read_csv(out / "names.csv")["cut"].sum() == sum(s > 10 for s in sizes.values()) > 0


# -- few-shot examples


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mmlu"])
def test_examples_are_the_end_of_the_order(served: Hub, make: Program, kind: str) -> None:
    repo = serve(served, kind)
    shown = read(make(kind, repo, examples=True, fewshot=4))
    assert set(shown.index) == set(ordered(kind)[-4:])
    assert set(read(make(kind, repo, fewshot=4)).index) == set(ordered(kind)[:-4])
    few = {"questions": 7, "fewshot": 4}
    assert set(read(make(kind, repo, **few)).index) == set(ordered(kind)[:7])
    assert set(read(make(kind, repo, examples=True, **few)).index) == set(shown.index)


def test_examples_of_mmlu_are_of_each_subject_and_of_other_splits(
    served: Hub, make: Program
) -> None:
    """The first of dev; where one of them is odd or also asked, one of validation."""
    rows = choice_repos.rows("mmlu")
    subject = rows["dev"][0]["subject"]
    own = [number for number, row in enumerate(rows["dev"]) if row["subject"] == subject]
    other = [number for number, row in enumerate(rows["validation"]) if row["subject"] == subject]
    rows["dev"][own[1]]["choices"] = ["a", "b", "a", "c"]
    rows["dev"][own[2]] = rows["test"][4] | {"subject": subject}
    repo = serve(served, "mmlu", rows)
    out = make("mmlu", repo, examples=True, fewshot=5)
    shown = questions.read(out / "q.parquet")
    assert set(shown["subject"].value_counts()) == {5}
    found = set(shown.loc[shown["subject"] == subject, "question_id"])
    kept = [own[0], *own[3:]]
    assert found == {f"dev.{i}" for i in kept} | {f"validation.{i}" for i in other[:2]}
    report = pd.read_csv(out / "names.csv").query("kind == @subject")
    assert report[["questions", "left_out"]].to_numpy().tolist() == [[5, 1]]

    asked = questions.read(make("mmlu", repo, fewshot=5) / "q.parquet")
    assert set(asked["question_id"]) == {f"test.{i}" for i in range(len(rows["test"]))}
    of_subject = prompting.FewShot(shown, 5, "fewshot").of("en", asked)
    assert sum(len(some) for _, some in of_subject) == len(asked)


def test_no_example_equals_another_question(served: Hub, make: Program) -> None:
    rows = choice_repos.rows("winogrande")
    last = ordered("winogrande")[-1]
    split, number = last.split(".")
    twin = next(i for i in range(19) if f"train.{i}" not in ordered("winogrande")[-3:])
    same = {name: rows[split][int(number)][name] for name in ("sentence", "option1", "option2")}
    rows["train"][twin] |= same
    repo = serve(served, "winogrande", rows)
    shown = questions.read(make("winogrande", repo, examples=True, fewshot=2) / "q.parquet")
    assert set(shown["question_id"]) == set(ordered("winogrande")[-3:-1])
    asked = questions.read(make("winogrande", repo, fewshot=2) / "q.parquet")
    assert {last, f"train.{twin}"} <= set(asked["question_id"])
    (found,) = prompting.FewShot(shown, 2, "fewshot").of("en", asked)
    assert len(found[1]) == len(asked) == 22


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("arc", {"fewshot": 25}, "allenai/ai2_arc: found 24 examples, expected 25 (fewshot)"),
        ("mmlu", {"fewshot": 9}, "found 8 examples of subject 'anatomy', expected 9 (fewshot)"),
    ],
)
def test_too_few_examples(
    served: Hub, make: Program, kind: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        make(kind, serve(served, kind), examples=True, **changes)
    assert said in str(caught.value)


def test_too_few_questions(served: Hub, make: Program) -> None:
    repo = serve(served, "truthfulqa")
    make("truthfulqa", repo, questions=24)
    for changes, said in (
        ({"questions": 25}, "found 24 questions beside 0 examples, expected 25 (questions)"),
        ({"questions": 21, "fewshot": 4}, "found 20 questions beside 4 examples, expected 21"),
        ({"fewshot": 24}, "found 0 questions beside 24 examples, expected at least one"),
    ):
        with pytest.raises(InputError) as caught:
            make("truthfulqa", repo, **changes)
        assert f"truthfulqa/truthful_qa: {said}" in str(caught.value)


# -- rows that cannot be asked


def options(texts: list[Any], labels: list[Any] | None = None) -> dict[str, Any]:
    return {"text": texts, "label": labels or list("ABCDE")[: len(texts)]}


def targets(texts: list[Any], labels: list[Any]) -> dict[str, Any]:
    return {"choices": texts, "labels": labels}


ODD: list[tuple[str, dict[str, Any], str]] = [
    ("arc", {"question": " "}, "question: found ' ', which is empty"),
    ("arc", {"choices": options(["x", "", "y"])}, "choices.text[1]: found '', which is empty"),
    ("arc", {"choices": options(["x"]), "answerKey": "A"}, "choices.text[1]: found nothing"),
    ("hellaswag", {"ctx": None}, "question: found None, which is empty"),
    ("hellaswag", {"endings": ["a", "b", "b ", "c"]}, "endings[1] and endings[2]: found two alike"),
    ("mmlu", {"choices": ["1", "2", None, "4"]}, "choices[2]: found None, which is empty"),
    ("mmlu", {"choices": ["1", "2", "1", "4"]}, "choices[0] and choices[2]: found two alike"),
    ("truthfulqa", {"mc1_targets": targets(["No.", "No."], [1, 0])},
     "mc1_targets.choices[0] and mc1_targets.choices[1]: found two alike"),
    ("winogrande", {"option2": "trophy"}, "option1 and option2: found two alike"),
    ("winogrande", {"option1": ""}, "option1: found '', which is empty"),
]  # fmt: skip
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("arc", {"answerKey": "F"}, "answerKey: found 'F', expected one of ['A', 'B', 'C', 'D', 'E']"),
    ("arc", {"answerKey": ""}, "answerKey: found '', expected one of"),
    ("arc", {"answerKey": None}, "answerKey: found None, expected one of"),
    ("arc", {"choices": options(["x", "y"], ["A", "X"])}, "choices.label: found ['A', 'X'], exp"),
    ("arc", {"choices": options(["x", "y"], ["A", "A"])}, "choices.label: found ['A', 'A'], exp"),
    ("arc", {"choices": options(["x", "y"], ["A", "2"])}, "choices.label: found ['A', '2'], exp"),
    ("arc", {"choices": options(["x", "y"], ["A"])}, "choices: found 2 of text and 1 of label"),
    ("arc", {"id": None}, "id: found None, expected a name or number"),
    ("hellaswag", {"label": ""}, "label: found '', expected one of ['0', '1', '2', '3']"),
    ("hellaswag", {"label": "4"}, "label: found '4', expected one of ['0', '1', '2', '3']"),
    ("hellaswag", {"endings": None}, "endings: found None, expected a list"),
    ("mmlu", {"answer": -1}, "answer: found -1, expected one of [0, 1, 2, 3]"),
    ("mmlu", {"answer": None}, "answer: found None, expected one of [0, 1, 2, 3]"),
    ("truthfulqa", {"mc1_targets": targets(["a", "b"], [0, 0])},
     "mc1_targets.labels: found [0, 0], expected one 1"),
    ("truthfulqa", {"mc1_targets": targets(["a", "b"], [1, 1])},
     "mc1_targets.labels: found [1, 1], expected one 1"),
    ("truthfulqa", {"mc1_targets": None}, "mc1_targets.choices: found None, expected a list"),
    ("winogrande", {"answer": ""}, "answer: found '', expected one of ['1', '2']"),
    ("winogrande", {"answer": "3"}, "answer: found '3', expected one of ['1', '2']"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changes", "said"), ODD + BAD)
def test_rows_that_are_no_questions(
    served: Hub, make: Program, tmp_path: Path, kind: str, changes: dict[str, Any], said: str
) -> None:
    rows = choice_repos.rows(kind)
    split = ASKED[kind][-1]
    rows[split][2] |= changes
    repo = serve(served, kind, rows)
    with pytest.raises(InputError) as caught:
        make(kind, repo, odd_rows="error")
    assert str(caught.value).startswith(choice_repos.SOURCE[kind][0])
    assert f" {split}: row 2: {said}" in str(caught.value)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    if (kind, changes) in [(name, change) for name, change, _ in BAD]:
        with pytest.raises(InputError):
            make(kind, repo)
        return
    out = make(kind, repo)
    assert len(read(out)) == len(known(kind)) - 1
    assert pd.read_csv(out / "names.csv")["left_out"].sum() == 1
    # as many as are asked for are still there, of the same order
    left = [name for name in ordered(kind) if name in read(out).index]
    assert set(read(make(kind, repo, questions=9)).index) == set(left[:9])


def test_configs_columns_and_ids(served: Hub, make: Program) -> None:
    other = served.add("datasets", "a/other", choice_repos.files("mmlu"))
    with pytest.raises(InputError, match=r"no config 'ARC-Challenge', found \['all'\]"):
        make("arc", other)
    with pytest.raises(InputError, match=r"no columns \['ctx', 'endings', 'label'\], found"):
        make("hellaswag", served.add("datasets", "a/b", hub_repos.alpaca()))
    rows = choice_repos.rows("arc")
    rows["test"][1]["id"] = rows["train"][0]["id"]
    with pytest.raises(
        InputError,
        match=r"ARC-Challenge test: row 1: id 'Mercury_train_0' was already in .* train: row 0",
    ):
        make("arc", serve(served, "arc", rows))
