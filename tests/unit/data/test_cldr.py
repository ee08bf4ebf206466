"""The packaged benchmark from CLDR: right, parallel, localised, apart from its SFT pairs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from babel import localedata
from babel.core import get_global

from multical.data import cldr, cldr_facts, conversations, questions
from multical.errors import InputError
from support import forks

SCRIPTS = Path(__file__).parents[3] / "scripts"
KINDS = list(cldr_facts.KINDS)
LANGUAGES = (
    "am ar bn cs de el en es fa fil fr ha he hi id ig it ja ko ky lt mg ms ne nl pl pt ro ru si "
    "sn so sr sv sw te tr uk vi yo zh"
).split()
#: CLDR has names of some 45 languages and 60 currencies in these.
THIN = {"mg", "sn"}
SEED, HELD_OUT, LIMIT = 1, 0.4, 120


@pytest.fixture(scope="module")
def made() -> tuple[pd.DataFrame, pd.DataFrame]:
    return cldr.benchmark(SEED, KINDS, LANGUAGES, HELD_OUT, LIMIT)


def test_enough_questions(made: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    counts = made[0].groupby("language").size()
    assert set(counts.index) == set(LANGUAGES)
    assert counts.drop(list(THIN)).between(100, LIMIT).all()
    assert (counts[list(THIN)] >= 10).all()


def test_parallel(made: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    frame = made[0]
    assert (frame.groupby("question_id")["answer"].nunique() == 1).all()
    assert not frame.duplicated(["language", "question_id"]).any()
    english = set(frame.loc[frame["language"] == "en", "question_id"])
    assert set(frame["question_id"]) == english


def test_options_differ_and_their_positions_balance(
    made: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    frame = made[0]
    assert frame["options"].map(lambda options: len(set(options)) == 4).all()
    positions = Counter(frame.loc[frame["language"] == "en", "answer"])
    assert max(positions.values()) - min(positions.values()) <= len(KINDS)


@pytest.mark.parametrize("seed", range(5))
def test_no_wrong_option_is_right(seed: int) -> None:
    """Checked against Babel's tables anew, not through the code under test."""
    for question in cldr.choose(seed, KINDS, HELD_OUT, LIMIT):
        fact = question.fact
        wrong = set(question.options) - {fact.answer}
        assert len(wrong) == 3
        if fact.kind == "currency":
            uses = get_global("territory_currencies")[fact.territory]
            current = {code for code, _, end, _ in uses if end is None}
            assert fact.answer in current
            assert not wrong & current
        else:
            languages = get_global("territory_languages")
            official = {
                (territory, code.split("_")[0])
                for territory, spoken in languages.items()
                for code, info in spoken.items()
                if info["official_status"]
            }
            country = fact.kind == "country"
            pairs = {
                code: (code, fact.asked) if country else (fact.territory, code)
                for code in question.options
            }
            assert pairs[fact.answer] in official
            assert not official & {pairs[code] for code in wrong}


@pytest.mark.parametrize("seed", range(5))
def test_no_answer_is_a_shortcut(seed: int) -> None:
    chosen = cldr.choose(seed, KINDS, HELD_OUT, LIMIT)
    assert len(chosen) >= 100
    for kind in KINDS:
        asked = [question for question in chosen if question.fact.kind == kind]
        answers = Counter(question.fact.answer for question in asked)
        assert max(answers.values()) <= max(1, cldr.LARGEST_SHARE * len(asked))


@pytest.mark.parametrize("seed", range(5))
def test_guessing_the_commonest_answer_does_not_pay(seed: int) -> None:
    """The option that is right most often, in the other questions or in SFT, stays near 1/4."""
    chosen = cldr.choose(seed, KINDS, HELD_OUT, LIMIT)
    gold = Counter((question.fact.kind, question.fact.answer) for question in chosen)
    english = cldr_facts.Names("en")
    sft = Counter(
        (pair["id"].split(".")[0], pair["messages"][1]["content"])
        for pair in cldr.sft_pairs(seed, KINDS, HELD_OUT)
    )
    hits = {"others": 0.0, "sft": 0.0}
    for kind, question in ((question.fact.kind, question) for question in chosen):
        right = question.options.index(question.fact.answer)
        others = [gold[kind, code] - (i == right) for i, code in enumerate(question.options)]
        trained = [sft[kind, str(english.get(kind, code))] for code in question.options]
        for name, counts in (("others", others), ("sft", trained)):
            hits[name] += (counts[right] == max(counts)) / counts.count(max(counts))
    assert all(0.15 < value / len(chosen) < 0.35 for value in hits.values()), hits


@pytest.mark.parametrize("seed", range(5))
def test_no_territory_on_both_sides(seed: int) -> None:
    tested: set[str] = set()
    for question in cldr.choose(seed, KINDS, HELD_OUT, 10_000):
        tested.add(question.fact.territory)
        if question.fact.kind == "country":
            tested.update(question.options)
    pairs = cldr.sft_pairs(seed, KINDS, HELD_OUT)
    trained = {pair["id"].split(".")[1] for pair in pairs}
    assert trained
    assert not trained & tested
    names = localedata.load("en")["territories"]
    tested_names = {names[territory] for territory in tested}
    for pair in pairs:
        asked, answer = (message["content"] for message in pair["messages"])
        assert answer not in tested_names
        assert not any(asked.endswith(f" {name}?") for name in tested_names - {"Guinea", "Sudan"})


def test_sft_pairs_are_plain_english_and_unique() -> None:
    pairs = cldr.sft_pairs(SEED, KINDS, HELD_OUT)
    assert len(pairs) >= 335
    stems = [pair["messages"][0]["content"] for pair in pairs]
    assert len(set(stems)) == len(stems)


def test_names_are_the_locales_own(made: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    root = localedata.load("root")
    assert not any(root.get(table) for table in ("territories", "languages", "currency_names"))
    frame, report = made
    latin = {language for language in LANGUAGES if cldr_facts.Names(language).script == "Latn"}
    other = frame[~frame["language"].isin(latin)]
    assert len(latin) == 24
    assert set(other["language"]) == set(LANGUAGES) - latin
    english = {
        option for options in frame.loc[frame["language"] == "en", "options"] for option in options
    }
    assert not english & {option for options in other["options"] for option in options}
    assert not report.loc[~report["language"].isin(latin), "same_as_english"].any()


def test_the_report_adds_up(made: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    frame, report = made
    counts = frame.groupby(["language", "subject"]).size()
    reported = report.set_index(["language", "kind"])["questions"]
    assert reported[reported > 0].to_dict() == counts.to_dict()
    assert (report.groupby("kind")[["questions", "left_out"]].sum().sum(axis=1) % 41 == 0).all()
    full = ~report["language"].isin(THIN)
    assert not report.loc[full, ["missing", "left_out"]].any(axis=None)
    assert (report.loc[~full, "missing"] > 0).all()


def test_a_missing_name_is_none() -> None:
    thin = cldr_facts.Names("mg")
    assert thin.get("currency", "KGS") is None
    assert thin.get("country", "FR") == "Frantsa"
    assert cldr_facts.Names("sr").get("country", "FR") == "Француска"
    assert cldr_facts.Names("zh").get("currency", "CHF") == "瑞士法郎"
    assert cldr_facts.Names("zh-Hant").get("currency", "EUR") == "歐元"


@pytest.mark.parametrize(
    ("asked", "answer", "script", "given"),
    [
        ("Thailand", "Thai Baht", "Latn", True),
        ("France", "Euro", "Latn", False),
        ("Netherlands", "Dutch", "Latn", False),
        ("São Tomé & Príncipe", "Sao Tome Dobra", "Latn", True),
        ("瑞士", "瑞士法郎", "Hans", True),
        ("중국", "중국어", "Kore", True),
        ("スイス", "スイス フラン", "Jpan", True),
        ("エクアドル", "米ドル", "Jpan", False),
    ],
)
def test_giveaways(asked: str, answer: str, script: str, given: bool) -> None:
    assert cldr_facts.gives_away(asked, answer, script) is given


@pytest.mark.parametrize("tag", ["xx", "ht", "nonsense", ""])
def test_a_language_without_names_is_refused(tag: str) -> None:
    with pytest.raises(InputError, match="languages"):
        cldr_facts.Names(tag)


@pytest.mark.parametrize("held_out", [0.0, 1.0, -0.1, float("nan"), 0.01])
def test_a_bad_fraction_is_refused(held_out: float) -> None:
    with pytest.raises(InputError, match="held_out"):
        cldr.choose(SEED, KINDS, held_out, LIMIT)


def run(script: str, params: Any, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPTS / script, "--params", json.dumps(params), *arguments]
    return forks.run(command)


def test_the_programs_are_deterministic(tmp_path: Path) -> None:
    source = {"kind": "cldr", "seed": 1, "kinds": KINDS, "held_out": 0.4}
    more = {"languages": ["en", "am", "zh"], "questions_per_language": 30}
    for turn in ("a", "b"):
        about = ("--about", tmp_path / "about.json")
        files = ("--output", tmp_path / f"{turn}.parquet", "--report", tmp_path / f"{turn}.csv")
        assert not run("make_benchmark.py", {"source": source | more}, *files, *about).stderr
        pairs = ("--output", tmp_path / f"{turn}.jsonl")
        assert not run("make_sft_data.py", {"source": source}, *pairs, *about).stderr
    for suffix in ("parquet", "csv", "jsonl"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert set(questions.read(tmp_path / "a.parquet")["language"]) == {"en", "am", "zh"}
    assert conversations.read(tmp_path / "a.jsonl") == cldr.sft_pairs(1, KINDS, 0.4)


def test_any_file_in_the_schema_is_a_benchmark(tmp_path: Path) -> None:
    source = tmp_path / "mine.jsonl"
    row = {"question_id": "1", "question": "?", "options": ["a", "b"], "answer": 0}
    source.write_text("".join(json.dumps(row | {"language": t}) + "\n" for t in ("tlh", "en-GB")))
    params = {"source": {"kind": "file", "path": str(source)}}
    done = run("make_benchmark.py", params, *outputs(tmp_path))
    assert done.returncode == 0, done.stderr
    assert list(questions.read(tmp_path / "o.parquet")["language"]) == ["en-GB", "tlh"]


def outputs(folder: Path) -> list[Any]:
    suffixes = {"output": "parquet", "report": "csv", "about": "json"}
    return [x for name, end in suffixes.items() for x in (f"--{name}", folder / f"o.{end}")]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"kind": "web"}, "--params: source: Input tag 'web' found using 'kind' does not match"),
        ({"kind": "file"}, "missing keys ['path']"),
        ({"kind": "file", "path": "none.jsonl"}, "none.jsonl: not a readable UTF-8 file"),
        ({"kind": "file", "path": "in.jsonl", "language": ["en"]}, "unknown keys ['language']"),
        ([], "source: Input should be a valid dictionary"),
    ],
)
def test_bad_sources_write_nothing(tmp_path: Path, source: Any, sentence: str) -> None:
    done = run("make_benchmark.py", {"source": source}, *outputs(tmp_path))
    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
