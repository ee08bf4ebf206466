"""score_run.py on a tiny model, against plain forwards over prompts written out by hand."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import score_run
from multical import locks, records
from multical.data import questions
from multical.errors import InputError
from multical.models import checkpoints
from multical.scoring import prompting
from support import forks, tiny
from support.programs import PROMPT
from support.programs import SCORING as PARAMS

WORDS = ["Euro", "yen", "円", "원", "рубль", "franc", "a b c", "leu", "krone", "Dinar (old)"]
ASKED = {"en": "Which {}?", "ko": "{}의 통화는?", "ar": "ما هي عملة {}؟"}
#: Of paper 2: letters alone
LETTERED = {"name": "second", "multiple_choice": "Say: {question}\n{options}", "cloze": None}

Score = Callable[..., pd.DataFrame]


def quiz() -> pd.DataFrame:
    """Nine questions, of 2 to 10 options, in three languages."""
    rows = [
        {
            "question_id": f"q{count}",
            "language": language,
            "subject": None if count % 2 else "money",
            "culture": (None, "CS", "CA")[count % 3],
            "question": text.format("x" * count),
            "options": WORDS[:count],
            "answer": count % 2,
        }
        for language, text in ASKED.items()
        for count in range(2, 11)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a model and a benchmark."""
    tiny.folder(tmp_path / "model")
    questions.write(tmp_path / "quiz.parquet", quiz())
    return tmp_path


def arguments(place: Path, params: Any, output: str = "out.parquet") -> list[str]:
    text = params if isinstance(params, str) else json.dumps(params)
    named = ["--model", place / "model" / "manifest.json", "--questions", place / "quiz.parquet"]
    scratch = place / "scratch" / output
    named += ["--output", place / output, "--usage", place / f"{output}.usage.json"]
    named += ["--scratch", scratch, "--save-every", "0"]
    if (place / "fewshot.parquet").exists():
        named += ["--fewshot", place / "fewshot.parquet"]
    return [*map(str, named), "--params", text]


@pytest.fixture
def score(place: Path, monkeypatch: pytest.MonkeyPatch) -> Score:
    """Runs the program with some parameters changed; returns the records."""

    def run(params: Any = None, output: str = "out.parquet", **changes: Any) -> pd.DataFrame:
        given = params if params is not None else {**PARAMS, **changes}
        monkeypatch.setattr(sys, "argv", ["score_run.py", *arguments(place, given, output)])
        score_run.main()
        return records.read(place / output)

    return run


def plainly(question: Any, multiple_choice: bool) -> dict[str, Any]:
    """The definition of the records: one full forward a prompt, and one an option."""
    model, tokenizer = tiny.model("llama"), tiny.tokenizer()

    def logits(text: str) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0]
        return found

    letters = "ABCDEFGHIJ"[: len(question.options)]
    prompt = f"Question: {question.question}\nAnswer:"
    start = len(tokenizer(prompt)["input_ids"])
    logliks, counts = [], []
    for option in question.options:
        text = f"{prompt} {option}"
        ids = tokenizer(text)["input_ids"]
        assert ids[:start] == tokenizer(prompt)["input_ids"]
        logprobs = logits(text).log_softmax(-1)
        logliks.append(sum(logprobs[i - 1, ids[i]].item() for i in range(start, len(ids))))
        counts.append(len(ids) - start)
    sizes = [len(option.encode()) for option in question.options]
    expected: dict[str, Any] = {
        "text_logliks": logliks, "text_tokens": counts, "text_bytes": sizes
    }  # fmt: skip
    if not multiple_choice:
        return expected | {"letter_logits": None, "logsumexp": None, "prompt_tokens": None}
    lines = "".join(f"\n{a}. {b}" for a, b in zip(letters, question.options, strict=True))
    text = f"Question: {question.question}{lines}\nAnswer:"
    last = logits(text)[-1]
    vocabulary = {i: str(tokenizer.decode([i])).strip() for i in range(len(tokenizer))}
    forms = [[i for i, token in vocabulary.items() if token == letter] for letter in letters]
    return expected | {
        "letter_logits": [last[ids].logsumexp(0).item() for ids in forms],
        "logsumexp": last.logsumexp(0).item(),
        "prompt_tokens": len(tokenizer(text)["input_ids"]),
    }


def test_records_are_those_of_plain_forwards(score: Score) -> None:
    found = score().set_index(["language", "question_id"])
    assert len(found) == 27
    asked: list[Any] = list(quiz().itertuples())
    for question in asked:
        row = found.loc[(question.language, question.question_id)]
        assert (row["n_options"], row["gold"]) == (len(question.options), question.answer)
        assert row["subject"] == question.subject or pd.isna(row["subject"])
        assert row["culture"] == question.culture or pd.isna(row["culture"])
        for name, value in plainly(question, question.language != "ar").items():
            if value is None:
                assert pd.isna(row[name]), name
            else:
                got = list(row[name]) if isinstance(value, list) else row[name]
                assert got == pytest.approx(value, abs=1e-4), (name, question)
    same = {"run": "tiny.facts.ls0.1.s0", "sft": "facts", "smoothing": 0.1, "prompt": "default"}
    for name, value in same.items():
        assert set(found[name]) == {value}


@pytest.mark.parametrize("chat", ["plain", "none"])
@pytest.mark.parametrize("fewshot", [0, 2])
def test_texts_without_the_question(score: Score, place: Path, chat: str, fewshot: int) -> None:
    """After a language's own unconditional text, no examples before it; the rest as without it."""
    examples = quiz().assign(question=lambda rows: "Say: " + rows["question"])
    questions.write(place / "fewshot.parquet", examples)
    texts = {"default": "Answer so", "ko": "답"}
    prompt = {**PROMPT, "unconditional": "{A}:", "headings": {"A": texts}}
    asked = {"chat_format": chat, "num_fewshot": fewshot}
    found = score(prompts=[prompt], **asked)
    pd.testing.assert_frame_equal(
        found.drop(columns="text_logliks_alone"),
        score(**asked).drop(columns="text_logliks_alone"),
        atol=1e-4,
    )
    model, tokenizer = tiny.model("llama"), tiny.tokenizer()
    row: Any
    for row in found.merge(quiz(), on=["language", "question_id"]).itertuples():
        text = f"{texts.get(row.language, texts['default'])}:"
        text = f"Question: {text}\nAnswer:" if chat == "plain" else text
        start, wanted = len(tokenizer(text)["input_ids"]), []
        for option in row.options:
            ids = tokenizer(f"{text} {option}")["input_ids"]
            with torch.no_grad():
                logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            wanted.append(sum(logprobs[i - 1, ids[i]].item() for i in range(start, len(ids))))
        assert row.text_logliks_alone == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("fewshot", [0, 2])
@pytest.mark.parametrize("prompt", [PROMPT, LETTERED, {**PROMPT, "unconditional": "So"}])
def test_letters_are_means_over_rotations(
    score: Score, place: Path, prompt: dict[str, Any], fewshot: int
) -> None:
    """Of 2 to 10 options, by a full forward for each rotation; all else as in the given order."""
    examples = quiz().assign(question=lambda rows: "Say: " + rows["question"])
    questions.write(place / "fewshot.parquet", examples)
    asked = {"prompts": [prompt], "num_fewshot": fewshot, "multiple_choice_languages": None}
    found = score(**asked, option_order="cyclic")
    given, letters = score(**asked), ["letter_logits", "logsumexp"]
    pd.testing.assert_frame_equal(
        found.drop(columns=letters), given.drop(columns=letters), atol=1e-4
    )
    assert set(found["logsumexp"]) == {0.0}
    model, tokenizer = tiny.model("llama"), tiny.tokenizer()
    vocabulary = {i: str(tokenizer.decode([i])).strip() for i in range(len(tokenizer))}

    def turn(question: str, options: list[str]) -> str:
        lines = "\n".join(f"{a}. {b}" for a, b in zip("ABCDEFGHIJ", options, strict=False))
        texts = {"question": question, "options": lines}
        return f"Question: {prompt['multiple_choice'].format(**texts)}\nAnswer:"

    row: Any
    for row in found.merge(quiz(), on=["language", "question_id"]).iloc[::3].itertuples():
        known: list[Any] = sorted(
            examples[examples["language"] == row.language].itertuples(),
            key=lambda one: sha256(one.question_id.encode()).hexdigest(),
        )
        if pd.notna(row.subject_x):
            known = sorted((x for x in known if x.subject), key=lambda one: str(one.question_id))
        shown = "".join(
            f"{turn(one.question, one.options)} {'AB'[one.answer]}</s>\n" for one in known[:fewshot]
        )
        mass = dict.fromkeys(row.options, 0.0)
        for shift in range(len(row.options)):
            turned = row.options[shift:] + row.options[:shift]
            text = shown + turn(row.question, turned)
            with torch.no_grad():
                last = model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0, -1]
            for letter, option in zip("ABCDEFGHIJ", turned, strict=False):
                forms = [i for i, token in vocabulary.items() if token == letter]
                mass[option] += last.softmax(0)[forms].sum().item() / len(turned)
        assert np.exp(row.letter_logits) == pytest.approx([*mass.values()], rel=1e-3)


def test_two_prompts_are_those_of_a_job_each(score: Score) -> None:
    """One of them without texts of options, of which nothing is computed then."""
    both = score(prompts=[PROMPT, LETTERED], multiple_choice_languages=None)
    for prompt, columns in ((PROMPT, 6), (LETTERED, 3)):
        alone = score(prompts=[prompt], multiple_choice_languages=None)
        own = both[both["prompt"] == prompt["name"]].reset_index(drop=True)
        own["prompt"] = own["prompt"].cat.remove_unused_categories()
        pd.testing.assert_frame_equal(own, alone)
        assert own[list(prompting.SCORE_COLUMNS)].notna().all().sum() == columns


def test_the_same_bytes_twice(score: Score, place: Path) -> None:
    score(output="a.parquet")
    score(output="b.parquet")
    assert (place / "a.parquet").read_bytes() == (place / "b.parquet").read_bytes()


def test_a_second_process_touches_nothing(score: Score, place: Path) -> None:
    with locks.held(place / "scratch" / "out.parquet", place / "x"):
        before = sorted(place.rglob("*"))
        with pytest.raises(InputError, match=r"out\.parquet: process \d+ on .* makes it"):
            score()
        assert sorted(place.rglob("*")) == before
    score()
    assert list((place / "scratch").iterdir()) == []


def test_a_base_model_has_no_sft(score: Score) -> None:
    found = score(run="tiny", sft=None, smoothing=None, seed=None, languages=["en"])
    assert found[["sft", "smoothing", "seed"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("given", "shown"), [(None, {"en", "ko", "ar"}), ([], set()), (["ar", "fr"], {"ar"})]
)
def test_lettered_languages(score: Score, given: list[str] | None, shown: set[str]) -> None:
    found = score(multiple_choice_languages=given)
    assert set(found.loc[found["letter_logits"].notna(), "language"]) == shown
    assert found["text_logliks"].notna().all()


def test_few_questions_are_the_same_in_each_language(score: Score) -> None:
    chosen = score(questions_per_language=4).groupby("language", observed=True)["question_id"]
    ids = {language: set(names) for language, names in chosen}
    assert [len(names) for names in ids.values()] == [4, 4, 4]
    assert len({frozenset(names) for names in ids.values()}) == 1
    assert len(score(questions_per_language=100)) == 27


def test_some_languages(score: Score) -> None:
    assert set(score(languages=["ko"])["language"]) == {"ko"}


def flipped(place: Path) -> None:
    weights = place / "model" / "checkpoint" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)


def unlisted(place: Path) -> None:
    (place / "model" / "manifest.json").unlink()


def listed_otherwise(place: Path) -> None:
    (place / "model" / "manifest.json").write_text('{"files": ["config.json"]}')


def without_a_file(place: Path) -> None:
    (place / "model" / "checkpoint" / "tokenizer.json").unlink()


def garbled(place: Path) -> None:
    (place / "quiz.parquet").write_bytes(b"PAR1 but not really")


def nothing(place: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "changes", "sentence"),
    [
        (flipped, {}, "model.safetensors: its content is not the one listed in"),
        (unlisted, {}, "manifest.json: not a manifest of a checkpoint"),
        (listed_otherwise, {}, "manifest.json: not a manifest of a checkpoint"),
        (without_a_file, {}, "tokenizer.json: missing, but listed in"),
        (garbled, {}, "quiz.parquet: not a readable Parquet file"),
        (nothing, {"languages": ["en", "tlh"]}, "quiz.parquet: no questions in ['tlh']"),
        (nothing, {"colour": 1}, "unknown keys ['colour']"),
        (nothing, {"seed": "0"}, "seed: found '0', expected: Input should be a valid integer"),
        (
            nothing,
            {"smoothing": True},
            "smoothing: found True, expected: Input should be a valid number",
        ),
        (
            nothing,
            {"prompts": "default"},
            "prompts: found 'default', expected: Input should be a valid list",
        ),
        (nothing, {"prompts": []}, "prompts: List should have at least 1 item"),
        (nothing, {"prompts": ["default"]}, "prompts.0: found 'default', expected: "),
        (nothing, {"prompts": [{"name": "x"}]}, "missing keys ['cloze', 'multiple_choice']"),
        (nothing, {"prompts": [PROMPT, PROMPT]}, "prompts: found two of the name 'default'"),
        (
            nothing,
            {"prompts": [LETTERED]},
            "['en', 'ko'], expected ar too, since the prompt second",
        ),
        (
            nothing,
            {"prompts": [{**PROMPT, "unconditional": "{question}"}]},
            "found '{question}', expected no {question} in it",
        ),
        (
            nothing,
            {"prompts": [{**LETTERED, "unconditional": "So:"}]},
            "unconditional: found 'So:', expected null, or cloze beside it",
        ),
        (nothing, {"dtype": "int8"}, "dtype: found 'int8', expected: Input should be 'auto', "),
        (
            nothing,
            {"option_order": "random"},
            "option_order: found 'random', expected: Input should be 'given' or",
        ),
        (
            nothing,
            {"quantization": "int8"},
            "quantization: found 'int8', expected: Input should be 'none' or",
        ),
        (nothing, {"chat_format": "alpaca"}, "chat_format: found 'alpaca', expected: "),
        (nothing, {"languages": []}, "languages: Value should have at least 1 item"),
    ],
)
def test_bad_input(
    score: Score, place: Path, spoil: Callable[[Path], None], changes: Any, sentence: str
) -> None:
    spoil(place)
    before = sorted(place.rglob("*"))
    with pytest.raises(InputError) as caught:
        score(**changes)
    assert sentence in str(caught.value)
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(("native", "name"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_on_a_gpu_that_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert checkpoints.fastest_dtype() == name


@pytest.mark.parametrize("text", ["", "[]", "{}", "{'run': 1}"])
def test_params_that_are_no_settings(score: Score, text: str) -> None:
    with pytest.raises(InputError, match="--params"):
        score(params=text)


def test_the_program_says_one_line(place: Path) -> None:
    flipped(place)
    command = [sys.executable, score_run.__file__, *arguments(place, PARAMS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = forks.run(command, env=environment)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert not (place / "out.parquet").exists()


def test_a_template_with_todays_date_is_asked_on_the_date_of_the_config(
    score: Score, place: Path
) -> None:
    dated = f"{{{{ strftime_now('%d %b %Y') }}}}{tiny.TEMPLATE}"
    tiny.folder(place / "model", chat_template=dated)
    with pytest.raises(InputError, match=r"checkpoint: its chat template writes today's date"):
        score(chat_format="template")
    first, again, other = (
        score(chat_format="template", chat_date=day)
        for day in ("2024-07-26", "2024-07-26", "2025-12-31")
    )
    pd.testing.assert_frame_equal(first, again)
    assert list(first["logsumexp"].dropna()) != list(other["logsumexp"].dropna())
