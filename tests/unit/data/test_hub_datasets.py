"""Benchmarks and SFT data from the hub: normalised, counted, and refused where they are odd."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import make_benchmark
import make_sft_data
from multical import paths
from multical.config import schema
from multical.data import conversations, hub_datasets, hub_sft, questions
from multical.data.odd_rows import OddRowError
from multical.errors import InputError
from multical.workflow import job_params
from support import hub_repos
from support.hub_server import Hub, Repo

Program = Callable[..., Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Runs make_benchmark or make_sft_data; returns the folder of what it wrote."""

    def run(module: Any, settings: dict[str, Any]) -> Path:
        out = tmp_path / "out"
        name = "q.parquet" if module is make_benchmark else "c.jsonl"
        arguments = ["--params", json.dumps(settings), "--output", out / name]
        arguments += ["--about", out / "about.json"]
        if module is make_benchmark:
            arguments += ["--report", out / "names.csv"]
        monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, arguments)])
        module.main()
        return out

    return run


def benchmark(repo: Repo, name: str, part: str = "", **changes: Any) -> dict[str, Any]:
    """The settings of a benchmark of the config, made from a repository, as the plan has them."""
    place = {"repo": repo.name, "revision": repo.revision, "odd_rows": "error"}
    source = hub_repos.source(name, **place | changes)
    made = {"b": schema.Benchmark.model_validate({"source": source, "options": None})}
    config = schema.Config.model_construct(benchmarks=made)
    return job_params.benchmark(config, "b", part).model_dump(mode="json")


def sft(repo: Repo, layout: str, part: str = "", **changes: Any) -> dict[str, Any]:
    """The settings of SFT data, as the plan has them."""
    source = {"kind": "hub", "repo": repo.name, "revision": repo.revision, "layout": layout}
    made = schema.SftData.model_validate({"source": {**source, "seed": 0, **changes}})
    config = schema.Config.model_construct(sft_data={"s": made})
    return job_params.sft_data(config, "s", part).model_dump(mode="json")


def study_1(served: Hub, name: str) -> Repo:
    """One of paper 1's data sets, at the hub under its own name."""
    return served.add("datasets", name, hub_repos.STUDY_1[name]())


def refused(tmp_path: Path, action: Callable[[], Any]) -> str:
    """The one line that an action is refused with; nothing may be left behind."""
    with pytest.raises(InputError) as caught:
        action()
    assert "\n" not in str(caught.value)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    return str(caught.value)


# -- benchmarks


def test_global_mmlu_in_all_languages(served: Hub, program: Program) -> None:
    repo = study_1(served, "CohereLabs/Global-MMLU")
    out = program(make_benchmark, benchmark(repo, "global-mmlu"))
    frame = questions.read(out / "q.parquet")
    assert sorted(set(frame["language"])) == sorted(hub_repos.GLOBAL_MMLU)
    assert frame.groupby("question_id")["language"].nunique().eq(42).all()
    for language in ("en", "am", "zh"):
        own = frame[frame["language"] == language].set_index("question_id")
        for row in hub_repos.global_mmlu_rows(language, "test", 6):
            made = own.loc[row["sample_id"]]
            assert made["question"] == row["question"]
            assert made["options"] == [row[f"option_{letter}"] for letter in "abcd"]
            assert "ABCD".index(row["answer"]) == made["answer"]
            assert made["subject"] == row["subject"]
            assert made["culture"] == {"-": None}.get(*2 * [row["cultural_sensitivity_label"]])
    report = pd.read_csv(out / "names.csv")
    assert report["questions"].sum() == 42 * 6
    assert report["left_out"].sum() == 0
    about = json.loads((out / "about.json").read_text())
    assert about["source"]["revision"] == repo.revision
    assert about["files"] == {
        path: hashlib.sha256(content).hexdigest()
        for path, content in repo.files.items()
        if "test" in path
    }


def test_mmlu_prox_in_all_languages(served: Hub, program: Program) -> None:
    repo = study_1(served, "li-lab/MMLU-ProX")
    out = program(make_benchmark, benchmark(repo, "mmlu-prox"))
    frame = questions.read(out / "q.parquet")
    assert sorted(set(frame["language"])) == sorted(hub_repos.MMLU_PROX)
    assert set(frame["options"].map(len)) == set(range(4, 11))
    assert frame["culture"].isna().all()
    own = frame[frame["language"] == "th"].set_index("question_id")
    for row in hub_repos.mmlu_prox_rows("th", "test", 8):
        made = own.loc[str(row["question_id"])]
        given = [row[f"option_{i}"] for i in range(10)]
        assert made["options"] == [text for text in given if text is not None]
        assert made["options"][made["answer"]] == given["ABCDEFGHIJ".index(row["answer"])]
        assert made["subject"] == row["category"]


def test_some_languages_and_the_split_of_shots(served: Hub, program: Program) -> None:
    repo = served.add("datasets", "a/prox-lite", hub_repos.mmlu_prox(["en", "sw", "zu"]))
    settings = benchmark(repo, "mmlu-prox", languages=["zu", "en"], split="validation")
    frame = questions.read(program(make_benchmark, settings) / "q.parquet")
    assert list(frame["language"]) == ["en"] * 4 + ["zu"] * 4


ODD_GLOBAL: list[tuple[dict[str, Any], str]] = [
    ({"question": " "}, "question: found ' ', which is empty"),
    ({"question": None}, "question: found None, which is empty"),
    ({"option_c": None}, "option_c: found None, which is empty"),
    ({"option_b": "x", "option_d": "x "}, "option_b and option_d: found two alike"),
    ({"option_d": None}, "option_d: found None, which is empty"),
    ({"answer": None}, "answer: found nothing"),
    ({"answer": ""}, "answer: found nothing"),
]
BAD_GLOBAL: list[tuple[dict[str, Any], str]] = [
    ({"answer": "E"}, "answer: found 'E', expected a letter from A to D"),
    ({"answer": "2"}, "answer: found '2', expected a letter from A to D"),
    ({"sample_id": None}, "sample_id: found None, expected a name or number"),
    (
        {"cultural_sensitivity_label": "C"},
        "cultural_sensitivity_label: found 'C', expected one of [",
    ),
]


@pytest.mark.parametrize(("changes", "said"), ODD_GLOBAL + BAD_GLOBAL)
def test_odd_rows_of_global_mmlu(
    served: Hub, program: Program, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    rows = hub_repos.global_mmlu_rows("yo", "test", 6)
    rows[2] |= changes
    files = hub_repos.global_mmlu(["en", "yo"], yo=rows)
    repo = served.add("datasets", "a/mmlu", files)
    own: dict[str, Any] = {"languages": ["en", "yo"]}
    settings = benchmark(repo, "global-mmlu", **own)
    told = refused(tmp_path, lambda: program(make_benchmark, settings))
    assert told.startswith(f"a/mmlu yo test: row 2: {said}")
    leave = benchmark(repo, "global-mmlu", odd_rows="leave_out", **own)
    if (changes, said) in BAD_GLOBAL:
        assert said in refused(tmp_path, lambda: program(make_benchmark, leave))
        return
    out = program(make_benchmark, leave)
    frame = questions.read(out / "q.parquet")
    assert len(frame) == 11
    assert rows[2]["sample_id"] not in set(frame.loc[frame["language"] == "yo", "question_id"])
    report = pd.read_csv(out / "names.csv").set_index(["language", "kind"])
    assert report.loc[("yo", rows[2]["subject"]), "left_out"] == 1
    assert report["left_out"].sum() == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"option_1": None}, "option_1: found None, which is empty"),
        ({"answer": "J", "answer_index": 9}, "answer: found 'J', expected a letter from A to G"),
        ({"answer": "C", "answer_index": 1},
         "answer_index: found 1, which contradicts answer 'C'; odd_rows: leave_out"),
        ({f"option_{i}": None for i in range(10)}, "option_0: found nothing"),
        ({f"option_{i}": None for i in range(1, 10)} | {"answer": "A", "answer_index": 0},
         "option_1: found nothing"),
    ],
)  # fmt: skip
def test_odd_rows_of_mmlu_prox(
    served: Hub, program: Program, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    rows = hub_repos.mmlu_prox_rows("ur", "test", 5)
    rows[3] |= changes
    repo = served.add("datasets", "a/prox", hub_repos.mmlu_prox(["ur"], ur=rows))
    settings = benchmark(repo, "mmlu-prox", languages=["ur"])
    told = refused(tmp_path, lambda: program(make_benchmark, settings))
    assert told.startswith(f"a/prox ur test: row 3: {said}")


def test_a_contradiction_is_left_out_and_counted(served: Hub, program: Program) -> None:
    files = hub_repos.mmlu_prox(["en", "sw"], contradictory=True)
    repo = served.add("datasets", "a/prox", files)
    settings = benchmark(repo, "mmlu-prox", languages=["en", "sw"], odd_rows="leave_out")
    out = program(make_benchmark, settings)
    frame = questions.read(out / "q.parquet")
    assert frame.groupby("language").size().to_dict() == {"en": 8, "sw": 8}
    assert "3787" not in set(frame["question_id"])
    left_out = pd.read_csv(out / "names.csv").groupby("language")["left_out"].sum()
    assert left_out.to_dict() == {"en": 1, "sw": 1}


def test_columns_and_languages_that_are_missing(
    served: Hub, program: Program, tmp_path: Path
) -> None:
    repo = served.add("datasets", "a/prox", hub_repos.mmlu_prox(["en"]))
    asked = benchmark(repo, "global-mmlu", languages=["en"])
    said = refused(tmp_path, lambda: program(make_benchmark, asked))
    assert said.startswith("a/prox en test: no columns ['sample_id', 'subject', 'option_a', ")
    assert "found ['answer', 'answer_index'" in said
    asked = benchmark(repo, "mmlu-prox", languages=["en", "xx"])
    said = refused(tmp_path, lambda: program(make_benchmark, asked))
    assert said.endswith(": no config 'xx', found ['en']")
    rows = hub_repos.mmlu_prox_rows("en", "test", 4)
    rows[1]["question_id"] = 100
    twice = served.add("datasets", "a/twice", hub_repos.mmlu_prox(["en"], en=rows))
    asked = benchmark(twice, "mmlu-prox", languages=["en"])
    said = refused(tmp_path, lambda: program(make_benchmark, asked))
    assert said == "a/twice en test: row 1: id '100' was already in a/twice en test: row 0"


def test_nothing_is_written_when_the_hub_fails(
    served: Hub, program: Program, tmp_path: Path
) -> None:
    repo = served.add("datasets", "a/prox", hub_repos.mmlu_prox(["en", "sw"]))
    settings = benchmark(repo, "mmlu-prox", languages=["en", "sw"])
    for fault in (lambda: served.fail(500, "sw/test", float("inf")),
                  lambda: served.cut("sw/test", float("inf"))):  # fmt: skip
        fault()
        said = refused(tmp_path, lambda: program(make_benchmark, settings))
        assert said.endswith("asked 5 times)")
        served.faults.clear()
    program(make_benchmark, settings)


#: Texts that readers of tables take for nothing, numbers, dates or truth values
LOOKALIKES = ["None", "NA", "null", "nan", "01", "1e5", "2020-01-01", "2020-01-01T10:00:00", "true"]


def packed(rows: list[dict[str, Any]], suffix: str) -> bytes:
    """Rows as the content of a file."""
    if suffix == ".parquet":
        return hub_repos.parquet(rows)
    text = {
        ".json": lambda: json.dumps(rows),
        ".jsonl": lambda: "".join(json.dumps(row) + "\n" for row in rows),
        ".csv": lambda: pd.DataFrame(rows).to_csv(index=False),
    }[suffix.removesuffix(".gz")]()
    return gzip.compress(text.encode()) if suffix.endswith(".gz") else text.encode()


SUFFIXES = [".parquet", ".json", ".jsonl", ".csv", ".csv.gz", ".jsonl.gz"]


def one_file(served: Hub, config: str, rows: list[dict[str, Any]], suffix: str) -> Repo:
    """A data set whose split test is one file."""
    path = {"split": "test", "path": f"t{suffix}"}
    readme = hub_repos.card([{"config_name": config, "data_files": [path]}])
    return served.add(
        "datasets", "a/own", {"README.md": readme, f"t{suffix}": packed(rows, suffix)}
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_texts_of_questions_stay_texts(served: Hub, program: Program, suffix: str) -> None:
    rows = hub_repos.mmlu_prox_rows("en", "test", len(LOOKALIKES))
    for row, text in zip(rows, LOOKALIKES, strict=True):
        row |= {f"option_{i}": option for i, option in enumerate([*LOOKALIKES, None])}
        row |= {"question": text, "category": text, "answer": "C", "answer_index": 2}
    repo = one_file(served, "en", rows, suffix)
    settings = benchmark(repo, "mmlu-prox", languages=["en"])
    frame = questions.read(program(make_benchmark, settings) / "q.parquet")
    assert list(frame["options"]) == [LOOKALIKES] * len(LOOKALIKES)
    assert sorted(frame["question"]) == sorted(frame["subject"]) == sorted(LOOKALIKES)
    assert list(frame["question_id"]) == [str(100 + i) for i in range(len(LOOKALIKES))]
    assert set(frame["answer"]) == {2}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_numbers_as_texts_name_the_right_option(served: Hub, program: Program, suffix: str) -> None:
    row = {"sentence": "1 + _ = 3", "option1": "01", "option2": "2", "answer": "2"}
    files = {f"{name}{suffix}": packed([row], suffix) for name in ("train", "validation")}
    listed = [{"split": Path(name).stem, "path": name} for name in files]
    readme = hub_repos.card([{"config_name": "winogrande_debiased", "data_files": listed}])
    repo = served.add("datasets", "a/own", {"README.md": readme, **files})
    out = program(make_benchmark, benchmark(repo, "winogrande", seed=0, questions=None, fewshot=0))
    frame = questions.read(out / "q.parquet")
    assert [sorted(options) for options in frame["options"]] == [["01", "2"]] * 2
    right = [options[i] for options, i in zip(frame["options"], frame["answer"], strict=True)]
    assert right == ["2", "2"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_texts_of_conversations_stay_texts(served: Hub, program: Program, suffix: str) -> None:
    rows = [{"instruction": text, "input": "", "output": text} for text in LOOKALIKES]
    repo = one_file(served, "default", rows, suffix)
    out = program(make_sft_data, sft(repo, "alpaca", split="test"))
    made = conversations.read(out / "c.jsonl")
    said = [[message["content"] for message in one["messages"]] for one in made]
    assert sorted(said) == sorted([text, text] for text in LOOKALIKES)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.jsonl", b'{"a": 1}\n{"a": "\\ud800"}\n', r"line 2: found \ud800, half of a character"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2: not JSON (Expecting value"),
        ("t.jsonl", b'{"a": 1}\n7\n', "line 2: found int, expected an object"),
        ("t.json", b'[{"a": 1}, 7]', "row 1: found int, expected an object"),
        ("t.json", b"[" * 10**5, "found lists or objects too deep"),
        ("t.csv", b'a,b\n"x', "EOF inside string"),
        ("t.csv", b"a,b\nx,\xff", "'utf-8' codec can't decode"),
    ],
)
def test_files_that_cannot_be_read(served: Hub, name: str, content: bytes, said: str) -> None:
    path = {"split": "test", "path": name}
    readme = hub_repos.card([{"config_name": "en", "data_files": [path]}])
    repo = served.add("datasets", "a/own", {"README.md": readme, name: content})
    with pytest.raises(InputError) as caught:
        hub_datasets.split(repo.name, repo.revision, "en", "test")
    assert str(caught.value).startswith(f"a/own en test: {name}: not a data set as its card says (")
    assert said in str(caught.value)


# -- SFT data


SFT = [
    ("allenai/tulu-3-sft-mixture", "messages"),
    ("arazd/tulu_stanford_alpaca", "messages"),
    ("teknium/OpenHermes-2.5", "sharegpt"),
    ("", "alpaca"),  # Stanford's own file, which paper 1 does not use
]


@pytest.mark.parametrize(("name", "layout"), SFT)
def test_sft_data(served: Hub, program: Program, name: str, layout: str) -> None:
    own = study_1(served, name) if name else None
    repo = own or served.add("datasets", "lab/stanford", hub_repos.stanford(40))
    out = program(make_sft_data, sft(repo, layout, examples=10, held_out=5))
    made = conversations.read(out / "c.jsonl")
    # the order of rows: an independent reading of the module's promise
    keys = {hashlib.sha256(f"0:{i}".encode()).hexdigest(): i for i in range(40)}
    order = [keys[key] for key in sorted(keys)]
    assert [one["id"] for one in made] == [f"train.{i}" for i in order[5:15]]
    for row, one in zip(order[5:15], made, strict=True):
        question, answer = hub_repos.pairs(40)[row]
        if layout == "alpaca" and row % 2:
            question += "\nin words"
        expected = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        if layout == "sharegpt" and row % 4 == 0 and row % 8:
            expected.insert(0, {"role": "system", "content": "Be short."})
        assert one["messages"] == expected
    about = json.loads((out / "about.json").read_text())
    assert about["rows"] == 40
    assert about["left_out"] == {}
    assert set(about["files"].values()) == {
        hashlib.sha256(content).hexdigest()
        for path, content in repo.files.items()
        if path != "README.md"
    }

    out = program(make_sft_data, sft(repo, layout, paths.HELDOUT, examples=10, held_out=5))
    aside = conversations.read(out / "c.jsonl")
    assert [one["id"] for one in aside] == [f"train.{i}" for i in order[:5]]
    # all that is not held out, and the first ten are those of before
    rest = conversations.read(program(make_sft_data, sft(repo, layout, held_out=5)) / "c.jsonl")
    assert len(rest) == 35
    assert rest[:10] == made


def test_another_seed_chooses_others(served: Hub, program: Program) -> None:
    repo = served.add("datasets", "lab/alpaca", hub_repos.alpaca(40))
    chosen = []
    for seed in (0, 0, 1):
        out = program(make_sft_data, sft(repo, "messages", examples=10, seed=seed))
        chosen.append((out / "c.jsonl").read_bytes())
    assert chosen[0] == chosen[1] != chosen[2]


def turn(role: str | None, content: str | None) -> dict[str, Any]:
    return {"role": role, "content": content}


ASKED, TOLD = turn("user", "x"), turn("assistant", "y")
ODD: list[tuple[Any, str]] = [
    (None, "no answer"),
    ([], "no answer"),
    ([ASKED], "no answer"),
    ([turn("system", "x")], "no answer"),
    ([ASKED, turn("assistant", "")], "an empty answer"),
    ([ASKED, turn("assistant", None)], "an empty answer"),
    ([turn("user", "\n"), TOLD], "an empty message"),
    ([ASKED, turn("tool", "z"), TOLD], "an unknown role"),
    ([turn(None, "z"), TOLD], "an unknown role"),
    ([TOLD, ASKED], "turns that do not alternate"),
    ([ASKED, ASKED, TOLD], "turns that do not alternate"),
    ([ASKED, turn("system", "z"), TOLD], "turns that do not alternate"),
]


@pytest.mark.parametrize(("messages", "why"), ODD)
def test_an_odd_conversation(messages: Any, why: str) -> None:
    with pytest.raises(OddRowError) as caught:
        hub_sft.read({"messages": messages}, "messages", "here")
    assert caught.value.kind == why
    assert (caught.value.leave_out == "always") == (why == "an empty answer")


def test_odd_conversations_are_named_or_counted(
    served: Hub, program: Program, tmp_path: Path
) -> None:
    odd = [{"id": "o", "messages": messages, "source": "x"} for messages, _ in ODD]
    repo = served.add("datasets", "lab/tulu", hub_repos.tulu(20, odd))
    said = refused(tmp_path, lambda: program(make_sft_data, sft(repo, "messages")))
    counts = {why: sum(w == why for _, w in ODD) for _, why in ODD}
    wrong = len(ODD) - counts["an empty answer"]
    assert f"; {wrong} rows in all: " in said
    assert said.endswith("; odd_rows: leave_out leaves such rows out")
    assert "no answer (4: lab/tulu train rows 20, 21, 22, 23)" in said
    assert "turns that do not alternate (3: lab/tulu train rows 29, 30, 31)" in said
    assert "empty answer" not in said  # these are left out in any case
    out = program(make_sft_data, sft(repo, "messages", odd_rows="leave_out"))
    assert len(conversations.read(out / "c.jsonl")) == 20
    assert json.loads((out / "about.json").read_text())["left_out"] == counts


def test_what_is_held_out_is_never_trained_on(served: Hub, program: Program) -> None:
    """Nor is a row that says the same."""
    repo = served.add("datasets", "lab/twice", hub_repos.tulu(
        20, [{"id": "again", "messages": hub_repos._messages(*pair), "source": ""}
             for pair in hub_repos.pairs(20)]))  # fmt: skip
    out = program(make_sft_data, sft(repo, "messages", held_out=6))
    made = conversations.read(out / "c.jsonl")
    settings = sft(repo, "messages", paths.HELDOUT, held_out=6)
    held = conversations.read(program(make_sft_data, settings) / "c.jsonl")
    said = {json.dumps(one["messages"]) for one in held}
    assert not said & {json.dumps(one["messages"]) for one in made}
    assert len(held) == 6
    assert len(made) == 40 - 2 * len(said)


@pytest.mark.parametrize(
    ("name", "layout", "changes", "said"),
    [
        ("tulu", "sharegpt", {}, "no columns ['conversations'], found ['id', 'messages', "),
        ("openhermes", "alpaca", {}, "no columns ['instruction', 'input', 'output'], found"),
        ("tulu", "messages", {"examples": 41}, "examples: found 40 conversations in 40 rows"),
        ("tulu", "messages", {"held_out": 41}, "held_out: found 40 conversations in 40 rows"),
        ("tulu", "messages", {"held_out": 40}, "examples: found 0 conversations in 40 rows"),
        ("tulu", "messages", {"split": "test"}, "lab/data test: no split 'test', found ['train']"),
        ("tulu", "messages", {"config": "x"}, "no config 'x', found ['default']"),
    ],
)  # fmt: skip
def test_sft_data_that_cannot_be_made(
    served: Hub,
    program: Program,
    tmp_path: Path,
    name: str,
    layout: str,
    changes: dict[str, Any],
    said: str,
) -> None:
    repo = served.add("datasets", "lab/data", getattr(hub_repos, name)(40))
    settings = sft(repo, layout, **changes)
    assert said in refused(tmp_path, lambda: program(make_sft_data, settings))


def test_turns_of_another_layout_are_an_error() -> None:
    with pytest.raises(InputError, match='here: messages: found "x", expected a list of role'):
        hub_sft.read({"messages": "x"}, "messages", "here")
    with pytest.raises(InputError, match="expected a list of from and value, both texts"):
        hub_sft.read({"conversations": [{"role": "user", "content": "x"}]}, "sharegpt", "here")
    with pytest.raises(InputError, match="expected a list of role and content"):
        hub_sft.read({"messages": [{"role": "user", "content": 3}]}, "messages", "here")
    with pytest.raises(InputError, match="here: input: found 3, expected a text"):
        hub_sft.read({"instruction": "x", "input": 3, "output": "y"}, "alpaca", "here")


def test_a_file_is_told_of_too(program: Program, tmp_path: Path) -> None:
    pair = hub_repos._messages("x", "y")
    conversations.write(tmp_path / "own.jsonl", [{"id": "a", "messages": pair}])  # type: ignore[typeddict-item]
    source = {"kind": "file", "path": str(tmp_path / "own.jsonl")}
    out = program(make_sft_data, {"source": source})
    digest = hashlib.sha256((tmp_path / "own.jsonl").read_bytes()).hexdigest()
    assert json.loads((out / "about.json").read_text())["files"] == {"own.jsonl": digest}


def test_empty_answers_are_left_out_and_counted(served: Hub, program: Program) -> None:
    odd = [{"id": "o", "messages": [ASKED, turn("assistant", "")], "source": "x"}]
    repo = served.add("datasets", "lab/tulu", hub_repos.tulu(20, odd))
    out = program(make_sft_data, sft(repo, "messages"))
    assert len(conversations.read(out / "c.jsonl")) == 20
    assert json.loads((out / "about.json").read_text())["left_out"] == {"an empty answer": 1}


def own_file(path: Path, *messages: Any) -> dict[str, str]:
    """The source of a file with these conversations, without ids."""
    path.write_text("".join(json.dumps({"messages": one}) + "\n" for one in messages))
    return {"kind": "file", "path": str(path)}


def test_a_file_with_odd_conversations(program: Program, tmp_path: Path) -> None:
    source = own_file(tmp_path / "own.jsonl", [ASKED, TOLD], *[messages for messages, _ in ODD[1:]])
    said = refused(tmp_path, lambda: program(make_sft_data, {"source": source}))
    assert said.startswith(f"{tmp_path}/own.jsonl: line 2: found roles [], expected user and")
    assert f"no answer (3: {tmp_path}/own.jsonl lines 2, 3, 4)" in said
    assert said.endswith("; odd_rows: leave_out leaves such rows out")
    out = program(make_sft_data, {"source": source | {"odd_rows": "leave_out"}})
    made = conversations.read(out / "c.jsonl")
    # an empty message of the user counts as a message in a file
    assert [one["id"] for one in made] == ["line.1", "line.7"]
    counts = {why: sum(w == why for _, w in ODD[1:]) for _, why in ODD}
    about = json.loads((out / "about.json").read_text())
    assert about["left_out"] == {k: n for k, n in counts.items() if k != "an empty message"}
    assert about["rows"] == len(ODD)
    # an empty answer alone is no error
    source = own_file(tmp_path / "own.jsonl", [ASKED, TOLD], [ASKED, turn("assistant", " ")])
    out = program(make_sft_data, {"source": source})
    assert json.loads((out / "about.json").read_text())["left_out"] == {"an empty answer": 1}
    assert [one["messages"] for one in conversations.read(out / "c.jsonl")] == [[ASKED, TOLD]]


def test_a_part_of_a_file_is_held_out(program: Program, tmp_path: Path) -> None:
    pairs = [[ASKED, turn("assistant", str(i // 2))] for i in range(12)]
    source = own_file(tmp_path / "own.jsonl", *pairs) | {"held_out": 3}
    keys = {hashlib.sha256(f"0:{i}".encode()).hexdigest(): i for i in range(12)}
    aside = [keys[key] for key in sorted(keys)][:3]
    out = program(make_sft_data, {"source": source, "held_out": True})
    held = conversations.read(out / "c.jsonl")
    assert [one["id"] for one in held] == [f"line.{i + 1}" for i in aside]
    out = program(make_sft_data, {"source": source})
    said = {i // 2 for i in aside}  # each is said twice
    rest = [i for i in range(12) if i // 2 not in said]
    assert [one["id"] for one in conversations.read(out / "c.jsonl")] == [
        f"line.{i + 1}" for i in rest
    ]
    left_out = json.loads((out / "about.json").read_text())["left_out"]
    assert left_out == {conversations.SAME: 12 - 3 - len(rest)}
    source |= {"held_out": 12}
    told = refused(tmp_path / "x", lambda: program(make_sft_data, {"source": source}))
    assert told.endswith("own.jsonl: held_out: found 12 of 12 conversations, expected fewer")


def test_facts_of_cldr_have_no_held_out_conversations(program: Program, tmp_path: Path) -> None:
    source = {"kind": "cldr", "seed": 0, "kinds": ["currency"], "held_out": 0.5}
    settings = {"source": source, "held_out": True}
    said = refused(tmp_path, lambda: program(make_sft_data, settings))
    assert said == "--params: held_out: found true for kind cldr, expected kind file or hub"
