"""Data sets of the hub whose columns the config names: all shapes, and what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from babel.core import get_global

from multical.data import hub_multilingual, questions
from multical.data.benchmark_params import HubBenchmark
from multical.errors import InputError
from multical.params import validated
from support import hub_repos
from support.hub_repos import Files, Rows
from support.hub_server import Hub

QUESTIONS = hub_repos.mmlu("test", 4)


def made(
    served: Hub, path: Path, files: Files, source: dict[str, Any], split: str = "test"
) -> pd.DataFrame:
    """The questions of a data set with these files, written and read again."""
    repo = served.add("datasets", "lab/own", files)
    own = HubBenchmark.model_validate(source | {"repo": repo.name, "revision": repo.revision})
    frame, report, sums = hub_multilingual.benchmark(own, split)
    assert sums.keys() <= files.keys()
    assert report["questions"].sum() == len(frame)
    questions.write(path / "q.parquet", frame)
    return questions.read(path / "q.parquet")


def check_texts(frame: pd.DataFrame, languages: dict[str, str], before: str = "") -> None:
    """Every language has the four questions, with their options and right answers."""
    assert sorted(set(frame["language"])) == sorted(languages.values())
    for code, own in frame.groupby("language"):
        told = {hub_repos.told(text, str(code)): text for _, text, _, _ in QUESTIONS}
        asked = [told[text.split("\n\n")[-1] if before else text] for text in own["question"]]
        by_text = {text: (options, right) for _, text, options, right in QUESTIONS}
        assert sorted(asked) == sorted(by_text)
        for text, options, answer in zip(asked, own["options"], own["answer"], strict=True):
            expected, right = by_text[text]
            assert options == [hub_repos.told(option, str(code)) for option in expected]
            assert answer == right


# -- entries of the config


def test_mmmlu(served: Hub, tmp_path: Path) -> None:
    languages = {"SW_KE": "sw", "ZH_CN": "zh"}
    source = hub_repos.source("mmmlu", languages=languages)
    frame = made(served, tmp_path, hub_repos.mmmlu(languages), source)
    check_texts(frame, languages)
    assert list(frame["question_id"]) == ["0", "1", "2", "3"] * 2  # the same in all languages
    assert list(frame["subject"]) == [subject for subject, *_ in QUESTIONS] * 2
    assert frame["culture"].isna().all()


def test_belebele(served: Hub, tmp_path: Path) -> None:
    languages = {"eng_Latn": "en", "als_Latn": "sq", "hin_Latn": "hi-Latn"}
    source = hub_repos.source("belebele", languages=languages)
    frame = made(served, tmp_path, hub_repos.belebele(languages), source)
    check_texts(frame, languages, "a passage")
    page = "https://en.wikibooks.org/wiki/Page_"
    ids = [f"{page}0#1", f"{page}0#2", f"{page}1#1", f"{page}1#2"]
    assert list(frame["question_id"]) == ids * 3
    own = frame.set_index(["language", "question_id"])["question"]
    assert own["en", ids[2]] == f"Passage 1.\n\n{QUESTIONS[2][1]}"
    assert own["sq", ids[1]].startswith("sq: Passage 0.\n\nsq: ")
    assert frame["subject"].isna().all()


@pytest.mark.parametrize("name", ["include", "include-lite"])
def test_include(served: Hub, tmp_path: Path, name: str) -> None:
    languages = {"Albanian": "sq", "North Macedonian": "mk"}
    source = hub_repos.source(name, languages=languages)
    files = hub_repos.include(languages, lite=name == "include-lite")
    frame = made(served, tmp_path, files, source)
    check_texts(frame, languages)
    assert list(frame["culture"]) == ["CA", "CS", "CS", "CS"] * 2
    # its questions are not the same in two languages, so that none may be paired
    assert list(frame["question_id"]) == [
        f"test.{code}.00000{i}" for code in ("mk", "sq") for i in range(4)
    ]
    if name == "include":
        examples = made(served, tmp_path, files, source, "validation")
        assert examples["question_id"].iloc[0] == "validation.mk.000000"


def test_names_of_languages() -> None:
    """Those of Belebele and INCLUDE mean what CLDR says, but for what it does not have."""
    belebele, include = (hub_repos.source(name)["languages"] for name in ("belebele", "include"))
    assert (len(belebele), len(include)) == (122, 44)
    aliases = {**get_global("language_aliases"), "pbt": "ps"}
    likely = get_global("likely_subtags")
    for name, code in belebele.items():
        language, script = name.split("_")
        own = code.split("-")
        assert own[0] == aliases.get(language, language)
        usual = likely.get(own[0], f"{own[0]}_{script}_ZZ").split("_")[1].replace("Kore", "Hang")
        assert own[1:] == ([] if script == usual else [script])
    names = {code: name for name, code in include.items()}
    assert (names["sq"], names["fa"], names["mk"]) == ("Albanian", "Persian", "North Macedonian")
    shared = set(belebele.values()) & set(include.values())
    assert shared == set(include.values()) - {"be"}  # Belebele has no Belarusian


def test_the_entry_of_the_docs(served: Hub, tmp_path: Path) -> None:
    page = (hub_repos.CONFIG.parents[1] / "docs/add.md").read_text("utf-8")
    (entry,) = re.findall(r"^    quiz:\n(?:      .*\n)+", page, re.MULTILINE)
    entry = entry.replace("OWNER/NAME", "a/b").replace("<40 digits>", "0" * 40)
    source = yaml.safe_load(entry)["quiz"]["source"]
    rows = [
        {
            "page": row["link"], "number": row["question_number"], "text": row["flores_passage"],
            "question": row["question"], "answer": row["correct_answer_num"],
            **{f"option_{n}": row[f"mc_answer{n}"] for n in range(1, 5)},
        }
        for row in hub_repos.belebele_rows("eng_Latn", "en")
    ]  # fmt: skip
    by_split = {"test": rows, "dev": rows[:1]}
    files = hub_repos.splits({"eng_Latn": by_split, "als_Latn": by_split})
    frame = made(served, tmp_path, files, source)
    for _, own in frame.groupby("language"):
        check_texts(own.assign(language="en"), {"": "en"}, "a passage")
    assert len(made(served, tmp_path, files, source, "dev")) == 2


# -- other shapes


COLUMNS: dict[str, Any] = {
    "id": ["name"], "language": "lang", "question": "asked", "options": ["right", "wrong"],
    "answer": {"answer": "text"},
}  # fmt: skip
SOURCE: dict[str, Any] = {
    "kind": "hub", "repo": "a/b", "revision": "0" * 40, "languages": {"English": "en", "Twi": "tw"},
    "columns": COLUMNS,
}  # fmt: skip


def row(name: str = "q", lang: str = "English", **changes: Any) -> dict[str, Any]:
    texts = {"asked": "Is it?", "right": "yes", "wrong": "no", "answer": "yes"}
    return {"name": name, "lang": lang, **texts, **changes}


def table(rows: Rows, config: str = "default") -> Files:
    """A data set with one config, whose split test is one Parquet file."""
    places = [{"split": "test", "path": "t.parquet"}]
    readme = hub_repos.card([{"config_name": config, "data_files": places}])
    return {"README.md": readme, "t.parquet": hub_repos.parquet(rows)}


def with_columns(**changes: Any) -> dict[str, Any]:
    return SOURCE | {"columns": COLUMNS | changes}


def test_a_column_tells_languages_apart(served: Hub, tmp_path: Path) -> None:
    rows = [
        row("q1"),
        row("q1", "Twi", answer=" yes"),
        row("q1", "Ga"),
        row("q2", "Twi", right="a"),
    ]
    rows[3]["answer"] = "no"
    frame = made(served, tmp_path, table(rows, "all"), SOURCE | {"config": "all"})
    columns = ["language", "question_id", "options", "answer"]
    assert frame[columns].to_numpy().tolist() == [
        ["en", "q1", ["yes", "no"], 0], ["tw", "q1", ["yes", "no"], 0], ["tw", "q2", ["a", "no"], 1]
    ]  # fmt: skip


def test_a_language_without_questions(served: Hub, tmp_path: Path) -> None:
    said = "^lab/own test: found no questions of languages .'Twi'., expected some of each$"
    with pytest.raises(InputError, match=said):
        made(served, tmp_path, table([row()]), SOURCE)
    odd = SOURCE | {"odd_rows": "leave_out"}
    with pytest.raises(InputError, match=said):
        made(served, tmp_path, table([row(), row("x", "Twi", asked="")]), odd)


@pytest.mark.parametrize(
    ("form", "value", "found"),
    [
        ("letter", "C", 2), ("index", 2, 2), ("index", "0", 0), ("number", 3, 2),
        ("number", "1", 0), ("text", "é ", 1),
        ("letter", "D", "a letter from A to C"), ("letter", "c", "a letter from A to C"),
        ("letter", 2, "a letter from A to C"),
        ("index", 3, "an index from 0 to 2"), ("index", -1, "an index from 0 to 2"),
        ("index", "01", "an index from 0 to 2"), ("index", True, "an index from 0 to 2"),
        ("number", 0, "a number from 1 to 3"), ("number", 4, "a number from 1 to 3"),
        ("number", 1.5, "a number from 1 to 3"), ("text", "d", "the text of an option"),
        ("index", None, None), ("letter", "", None),
    ],
)  # fmt: skip
def test_forms_of_answers(form: str, value: Any, found: int | str | None) -> None:
    source = HubBenchmark.model_validate(with_columns(options=["list"], answer={"key": form}))
    own = {"name": 7, "asked": "?", "list": ["a", "é", "c"], "key": value}
    if isinstance(found, int):
        question = hub_multilingual.question_of(own, source.columns, "here")
        expected = {"question_id": "7", "question": "?", "options": own["list"], "answer": found}
        assert question == expected
        return
    error = InputError if found else hub_multilingual.OddRowError
    said = f"here: key: found {value!r}, expected {found}" if found else "key: found nothing"
    with pytest.raises(error) as caught:
        hub_multilingual.question_of(own, source.columns, "here")
    assert str(caught.value) == said


TWO = {"answer": {"letter": "letter", "place": "number"}}


@pytest.mark.parametrize(
    ("columns", "changes", "said"),
    [
        ({}, {"asked": " "}, "asked: found ' ', which is empty"),
        ({}, {"asked": 3}, "asked: found 3, expected a text"),
        ({"passage": "story"}, {"story": None}, "story: found None, which is empty"),
        ({}, {"wrong": None}, "wrong: found None, which is empty"),
        ({"fewer_options": True}, {"wrong": None}, "wrong: found nothing, which leaves under 2"),
        ({}, {"wrong": "yes "}, "right and wrong: found two alike"),
        ({"options": ["list"]}, {"list": "yes"}, "list: found 'yes', expected a list"),
        ({"options": ["list"]}, {"list": ["a", None]}, "list[1]: found None, which is empty"),
        ({"options": ["list"]}, {"list": ["a"]}, "list[1]: found nothing, which leaves under 2"),
        ({"options": ["list"]}, {"list": [*"abcdefghijk"]}, "list: found 11, expected at most 10"),
        ({"id": ["lang", "name"]}, {"name": None}, "name: found None, expected a name or number"),
        (TWO, {"letter": "B", "place": 1}, "place: found 1, which contradicts letter 'B'"),
        (TWO, {"letter": None, "place": ""}, "letter and place: found nothing"),
        ({"culture": {"column": "mark", "values": {"yes": "CS"}}}, {"mark": "no"},
         "mark: found 'no', expected one of ['yes']"),
        ({"culture": {"column": "mark", "values": {"yes": "CS"}}}, {"mark": ["yes"]},
         "mark: found ['yes'], expected one of ['yes']"),
    ],
)  # fmt: skip
def test_rows_that_are_wrong(columns: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    source = HubBenchmark.model_validate(with_columns(**columns))
    with pytest.raises((InputError, hub_multilingual.OddRowError)) as caught:
        hub_multilingual.question_of(row(**changes), source.columns, "here")
    assert said in str(caught.value)


def test_columns_of_which_one_may_be_null() -> None:
    source = HubBenchmark.model_validate(with_columns(**TWO))
    for changes in ({"letter": None, "place": 2}, {"letter": "B", "place": None}):
        question = hub_multilingual.question_of(row(**changes), source.columns, "here")
        assert question["answer"] == 1


def test_a_culture_by_number_and_none(served: Hub, tmp_path: Path) -> None:
    culture = {"column": "mark", "values": {"0": "CA", "1": "CS", "2": None}}
    source = with_columns(culture=culture) | {"languages": {"English": "en"}}
    rows = [row(str(i), mark=mark) for i, mark in enumerate((0, 1, 2, None))]
    frame = made(served, tmp_path, table(rows), source)
    assert list(frame["culture"]) == ["CA", "CS", None, None]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"languages": {"a": "en", "b": "en"}}, "languages: found 'en' twice"),
        ({"languages": {}}, "at least 1 item"),
        ({"languages": {"a": "en_GB"}}, "languages.a"),
        ({"columns": {**COLUMNS, "language": None}, "config": "x"}, "config: found 'x', expected"),
        ({"columns": {**COLUMNS, "options": []}}, "columns.options"),
        ({"columns": {**COLUMNS, "answer": {"a": "word"}}}, "columns.answer.a"),
        ({"columns": {**COLUMNS, "answer": {}}}, "columns.answer"),
        ({"columns": {**COLUMNS, "id": ["a", "a"]}}, "'a' twice"),
        ({"columns": {**COLUMNS, "questions": "x"}}, "unknown keys"),
        ({"columns": {**COLUMNS, "question": "a\nb"}}, "columns.question"),
        ({"columns": {**COLUMNS, "culture": {"column": "c", "values": {"x": "C"}}}}, "values.x"),
    ],
)
def test_entries_that_are_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        validated(HubBenchmark, SOURCE | changes, "source")
    assert said in str(caught.value)
