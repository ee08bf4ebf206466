"""score_run.py cut into jobs, killed, and with few-shot examples, on tiny models."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import merge_records
import score_run
from multical import records
from multical.data import questions
from multical.errors import InputError
from multical.params import canonical
from multical.scoring import prompting, scorer
from multical.scoring.params import ScoringJob
from multical.scoring.scorer import Scorer, Scores
from support import tiny

STEMS = {
    "en": "Which number comes after {}?",
    "ja": "{}の次の数は何ですか。",
    "fr": "Quel nombre vient juste après {}, dis-le moi ?",
}
WORDS = ["Euro", "円", "franc suisse", "Yen japonais"]
PROMPT = {"name": "default", "multiple_choice": "{question}\n{options}", "cloze": "{question}"}
PARAMS: dict[str, Any] = {
    "run": "tiny",
    "model": "tiny",
    "sft": None,
    "smoothing": None,
    "seed": None,
    "benchmark": "quiz",
    "languages": ["en", "ja", "fr"],
    "questions_per_language": None,
    "prompts": [PROMPT],
    "multiple_choice_languages": ["en", "ja"],
    "chat_format": "plain",
    "dtype": "float32",
    "matmul_precision": "highest",
    "batch_tokens": 200,
}
SHOTS = 2

Run = Callable[..., Path]


def quiz(word: str = "") -> pd.DataFrame:
    """Eight questions a language: three of each of two subjects, and two of none."""
    rows = [
        {
            "question_id": f"q{number}",
            "language": language,
            "subject": ["odd", "even", None][min(number // 3, 2)],
            "question": word + stem.format(number * 10 ** (number % 5)),
            "options": WORDS[: 2 + number % 3],
            "answer": number % 2,
        }
        for language, stem in STEMS.items()
        for number in range(8)
    ]
    return pd.DataFrame(rows)


def examples() -> pd.DataFrame:
    """More examples than are shown, of one of the subjects and of others."""
    return quiz("Say: ").assign(subject=lambda rows: rows["subject"].replace("even", "other"))


@pytest.fixture(autouse=True)
def one_question_per_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a job has many batches."""
    monkeypatch.setattr(scorer, "TRIE_TOKENS", 1)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tiny.folder(tmp_path / "model")
    questions.write(tmp_path / "quiz.parquet", quiz())
    questions.write(tmp_path / "fewshot.parquet", examples())
    return tmp_path


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the program with some parameters changed; returns the path of the records."""

    def scored(name: str, **changes: Any) -> Path:
        output = place / f"{name}.parquet"
        arguments = {
            "--model": place / "model/manifest.json",
            "--questions": place / "quiz.parquet",
            "--fewshot": place / "fewshot.parquet",
            "--params": canonical({**PARAMS, **changes}),
            "--output": output,
            "--usage": place / f"{name}.usage.json",
            "--scratch": place / "scratch" / name,
            "--save-every": 0,
        }
        words = [str(word) for pair in arguments.items() for word in pair]
        monkeypatch.setattr(sys, "argv", ["score_run.py", *words])
        score_run.main()
        return output

    return scored


@pytest.mark.parametrize("changes", [{}, {"num_fewshot": SHOTS}, {"questions_per_language": 5}])
def test_merged_shards_are_the_bytes_of_one_job(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    whole = run("whole", **changes).read_bytes()
    parts = [
        run("fr", languages=["fr"], multiple_choice_languages=[], **changes),
        run("ja+en", languages=["ja", "en"], multiple_choice_languages=["en", "ja"], **changes),
    ]
    merged = place / "merged.parquet"
    used = [str(part.with_suffix(".usage.json")) for part in parts]
    words = ["--records", *map(str, parts), "--output", str(merged)]
    words += ["--used", *used, "--usage", str(place / "merged.usage.json")]
    monkeypatch.setattr(sys, "argv", ["merge_records.py", *words])
    merge_records.main()
    assert merged.read_bytes() == whole
    monkeypatch.setattr(sys, "argv", ["merge_records.py", *words[:2], *words[1:]])
    with pytest.raises(InputError, match="two rows for"):
        merge_records.main()


class InterruptedJobError(Exception):
    """Stands for a job that is killed."""


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int | None) -> list[int]:
    """Have the model fail after some batches; returns a list that grows by one for each."""
    plainly, calls = Scorer._run, list[int]()

    def counted(self: Scorer, tries: Any, *rest: Any) -> list[Scores]:
        if len(calls) == after:
            raise InterruptedJobError
        calls.append(len(tries))
        return plainly(self, tries, *rest)

    monkeypatch.setattr(Scorer, "_run", counted)
    return calls


#: A prompt whose options are scored without the question too
ALONE = [{**PROMPT, "unconditional": "So"}]
#: Two prompts of paper 2, of letters alone
LETTERS = [{**PROMPT, "name": name[:-1], "cloze": None,
            "multiple_choice": f"{{question}}\n{{options}}\n{name}"}
           for name in ("Response:", "Answer:")]  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_fewshot": SHOTS},
        {"prompts": ALONE},
        {"num_fewshot": SHOTS, "prompts": ALONE},
        {"num_fewshot": SHOTS, "prompts": ALONE, "option_order": "cyclic"},
        {"num_fewshot": SHOTS, "prompts": LETTERS, "multiple_choice_languages": None},
    ],
)
def test_a_killed_job_goes_on_and_writes_the_same_bytes(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    with monkeypatch.context() as patched:
        batches = interrupt(patched, None)
        whole = run("whole", **changes).read_bytes()
    total = len(batches)
    assert total >= 6
    for after in (3, 2):  # twice killed
        with monkeypatch.context() as patched:
            interrupt(patched, after)
            with pytest.raises(InterruptedJobError):
                run("killed", **changes)
        assert not (place / "killed.parquet").exists()
    (folder,) = (place / "scratch").glob("killed-*")
    assert len(list(folder.glob("*.json"))) == 3 + 2
    (folder / "000002.json").write_text('{"en.0')  # a crash of the machine
    with monkeypatch.context() as patched:
        batches = interrupt(patched, None)
        assert run("killed", **changes).read_bytes() == whole
    assert len(batches) == total - 4
    assert not list((place / "scratch").iterdir())


@pytest.mark.parametrize("other", ["questions", "model", "examples"])
def test_a_killed_job_leaves_nothing_to_one_on_other_inputs(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    with monkeypatch.context() as patched:
        interrupt(patched, 4)
        with pytest.raises(InterruptedJobError):
            run("killed", num_fewshot=SHOTS)
    match other:
        case "questions":
            questions.write(place / "quiz.parquet", quiz("Please: "))
        case "model":
            tiny.folder(place / "model", seed=1)
        case "examples":
            questions.write(place / "fewshot.parquet", examples().iloc[:-1])
    again = run("killed", num_fewshot=SHOTS).read_bytes()
    assert again == run("whole", num_fewshot=SHOTS).read_bytes()


def test_a_model_in_4_bits(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on where it was killed, but not from what whole weights gave."""
    pytest.importorskip("bitsandbytes")
    whole = records.read(run("whole"))
    with monkeypatch.context() as patched:
        interrupt(patched, 4)
        with pytest.raises(InterruptedJobError):
            run("killed")
    with monkeypatch.context() as patched:
        interrupt(patched, 4)
        with pytest.raises(InterruptedJobError):
            run("killed", quantization="nf4")
    assert len([*(place / "scratch").iterdir()]) == 2
    killed = run("killed", quantization="nf4")
    assert len([*(place / "scratch").iterdir()]) == 1
    assert killed.read_bytes() == run("again", quantization="nf4").read_bytes()
    found = records.read(killed)
    for name in ("letter_logits", "text_logliks"):
        pairs = zip(found[name].dropna(), whole[name].dropna(), strict=True)
        errors = [abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True)]
        assert max(errors) > 0.01
    used = json.loads((place / "killed.usage.json").read_text())
    assert used["quantization"] == "nf4"
    assert "bitsandbytes" in used["libraries"]
    assert json.loads((place / "whole.usage.json").read_text())["quantization"] == "none"


def chosen(row: Any) -> list[Any]:
    """The examples of a question by the definition."""
    known = examples()
    known = known[known["language"] == row.language]
    own = known[known["subject"] == row.subject]
    if own.empty:
        known = known.assign(h=[hashlib.sha256(i.encode()).hexdigest() for i in known.question_id])
        return list(known.sort_values("h").head(SHOTS).itertuples())
    return list(own.sort_values("question_id").head(SHOTS).itertuples())


def naive(kind: str, row: Any, chat: str, texts: dict[str, str]) -> dict[str, Any]:
    """A question's scores from full forwards over its whole texts."""
    model, tokenizer = tiny.model(kind), tiny.tokenizer()

    def turn(one: Any, multiple_choice: bool, answer: str | None) -> str:
        lines = "".join(f"\n{a}. {b}" for a, b in zip("ABCD", one.options, strict=False))
        body = f"{one.question}{lines if multiple_choice else ''}\n{texts[one.language]}"
        if chat == "plain":
            tail = "" if answer is None else f" {answer}</s>\n"
            return f"Question: {body}\nAnswer:{tail}"
        return f"<|user|>{body}<|assistant|>" + ("" if answer is None else f"{answer}</s>")

    def logits(text: str) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = model(torch.tensor([encode(text)])).logits[0]
        return found

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer(text)["input_ids"]
        return ids

    known = chosen(row)
    multiple_choice = "".join(turn(one, True, "ABCD"[one.answer]) for one in known)
    plain = "".join(turn(one, False, one.options[one.answer]) for one in known)
    plain += turn(row, False, None)
    ids = [encode(plain + (" " if chat == "plain" else "") + text) for text in row.options]
    start = 0
    while start < len(encode(plain)) and {one[start] for one in ids} == {encode(plain)[start]}:
        start += 1
    logliks = []
    for option, text in zip(ids, row.options, strict=True):
        logprobs = logits(plain + (" " if chat == "plain" else "") + text).log_softmax(-1)
        logliks.append(sum(logprobs[i - 1, option[i]].item() for i in range(start, len(option))))
    found: dict[str, Any] = {
        "text_logliks": logliks, "text_tokens": [len(one) - start for one in ids]
    }  # fmt: skip
    if row.language == "fr":
        return found
    multiple_choice += turn(row, True, None)
    last = logits(multiple_choice)[-1]
    forms = {a: [i for t, i in tokenizer.get_vocab().items() if t.strip("Ġ") == a] for a in "ABCD"}
    found["letter_logits"] = [
        last[forms[a]].logsumexp(0).item() for a in "ABCD"[: len(row.options)]
    ]
    return found | {
        "logsumexp": last.logsumexp(0).item(),
        "prompt_tokens": len(encode(multiple_choice)),
    }


@pytest.mark.parametrize("chat", ["plain", "template"])
@pytest.mark.parametrize("kind", ["llama", "gemma2", "gemma3"])
def test_few_shot_scores_are_those_of_whole_texts(
    run: Run, place: Path, kind: str, chat: str
) -> None:
    """Texts are tokenised whole; Japanese has no spaces, and bytes for tokens here."""
    tiny.folder(place / "model", kind)
    texts = {"en": "So", "ja": "答え", "fr": "Alors"}
    headings = {"A": {"default": "So", "ja": "答え", "fr": "Alors"}}
    prompt = {
        "name": "x",
        "multiple_choice": "{question}\n{options}\n{A}",
        "cloze": "{question}\n{A}",
    }
    found = records.read(
        run("out", num_fewshot=SHOTS, chat_format=chat, prompts=[{**prompt, "headings": headings}])
    ).set_index(["language", "question_id"])
    rows: list[Any] = list(quiz().iloc[::2].itertuples())
    for row in rows:
        got = found.loc[(row.language, row.question_id)]
        for name, value in naive(kind, row, chat, texts).items():
            values = list(got[name]) if isinstance(value, list) else got[name]
            assert values == pytest.approx(value, abs=1e-4), (name, row)
    listed = found["letter_logits"].notna()
    assert set(listed[listed].index.get_level_values("language")) == {"en", "ja"}


def test_examples_are_run_once_a_language_subject_and_prompt(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plainly, prefixes = Scorer._prefix_cache, []

    def counted(self: Scorer, tokens: list[int], rows: int) -> Any:
        if tokens != self._prefix:
            prefixes.append(len(tokens))
        return plainly(self, tokens, rows)

    monkeypatch.setattr(Scorer, "_prefix_cache", counted)
    run("out", num_fewshot=SHOTS)
    # subject odd has its own examples, even and none have the language's; fr has no letters
    assert len(prefixes) == 2 * (2 + 2 + 1)
    assert min(prefixes) > 40


def test_parts_with_the_same_examples_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that these are run once, however many parts their questions are cut into."""
    monkeypatch.setattr(prompting, "LARGEST_PART", 2)
    cut = list(
        prompting.parts(
            quiz(),
            job := ScoringJob(**PARAMS),
            prompting.FewShot(examples(), SHOTS, "fewshot.parquet"),
            job.multiple_choice_languages,
        )
    )
    shown = [(p.language, p.multiple_choice, *(one.question_id for one in p.examples)) for p in cut]
    assert len(shown) > len(set(shown)) == 2 * (2 + 2 + 1)
    assert len([*itertools.groupby(shown)]) == len(set(shown))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_fewshot": SHOTS},
        {"prompts": ALONE},
        {"num_fewshot": SHOTS, "prompts": ALONE},
        {"option_order": "cyclic"},
    ],
)
def test_many_questions_are_scored_some_at_a_time(
    run: Run, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    whole = records.read(run("whole", **changes))
    monkeypatch.setattr(prompting, "LARGEST_PART", 2)
    pieces = records.read(run("pieces", **changes))
    for name in ("letter_logits", "text_logliks", "text_logliks_alone"):
        for one, other in zip(whole[name], pieces[name], strict=True):
            assert (one is None) == (other is None)
            assert one is None or list(one) == pytest.approx(list(other), abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"num_fewshot": 4},
            "found 3 examples in en, subject 'odd', expected 4 (scoring.num_fewshot)",
        ),
        ({"num_fewshot": 3, "batch_tokens": 9}, None),
        ({"num_fewshot": "2"}, "num_fewshot: found '2', expected: Input should be a valid integer"),
        (
            {"prompts": [{**PROMPT, "cloze": "{question} {A}", "headings": {"A": {"fr": "x"}}}]},
            "prompts: default: headings.A: neither en nor default",
        ),
    ],
)
def test_bad_settings(run: Run, place: Path, changes: dict[str, Any], sentence: str | None) -> None:
    if sentence is None:
        run("out", **changes)  # a batch is never empty
        return
    with pytest.raises(InputError) as caught:
        run("out", **changes)
    assert sentence in str(caught.value)
    assert not list(place.glob("out*"))
    assert not (place / "scratch").exists()


def test_an_example_that_is_asked_is_named(run: Run, place: Path) -> None:
    (place / "fewshot.parquet").write_bytes((place / "quiz.parquet").read_bytes())
    with pytest.raises(InputError, match=r"example 'q\d' in en equals question 'q\d'"):
        run("out", num_fewshot=SHOTS)


def test_a_language_without_examples_is_named(run: Run, place: Path) -> None:
    questions.write(place / "fewshot.parquet", examples().query("language != 'ja'"))
    with pytest.raises(InputError, match=r"fewshot.parquet: found 0 examples in ja, expected 2"):
        run("out", num_fewshot=SHOTS)


def test_questions_without_room_are_asked_as_with_fewer_examples(
    run: Run, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_count = [records.read(run(f"whole{count}", num_fewshot=count)) for count in range(SHOTS + 1)]
    limit = int(by_count[1]["prompt_tokens"].quantile(0.5))
    positions(place, limit)
    found = records.read(run("cut", num_fewshot=SHOTS))
    assert "fewer than 2 examples fit before " in capsys.readouterr().err
    counts = []
    for at in found.index[found["letter_logits"].notna()]:
        row = found.loc[at]
        fits = [one.loc[at, "prompt_tokens"] <= limit for one in by_count]
        counts.append(max(count for count, fit in enumerate(fits) if fit))
        wanted = by_count[counts[-1]].loc[at]
        assert row["prompt_tokens"] == wanted["prompt_tokens"]
        assert row["letter_logits"] == pytest.approx(wanted["letter_logits"], abs=1e-4)
    assert set(counts) == {0, 1}


def test_a_question_that_is_too_long_by_itself_is_named(run: Run, place: Path) -> None:
    positions(place, 30)
    with pytest.raises(InputError, match=r"^question q\d+ in en: \d+ tokens, the model takes 30$"):
        run("out", num_fewshot=SHOTS)


def positions(place: Path, count: int) -> None:
    """Have the model take so many tokens at once."""
    config = place / "model/checkpoint/config.json"
    about = json.loads(config.read_text())
    config.write_text(json.dumps(about | {"max_position_embeddings": count}))
    tiny.write_manifest(place / "model/manifest.json", place / "model/checkpoint", {})
