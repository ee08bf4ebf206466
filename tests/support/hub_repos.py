"""Small repositories with exactly the schemas of the hub's own, for `hub_server`.

English questions are MMLU's own where ../shared/data/mmlu is, else made up. In other
languages they are the same ones with a mark of the language's script: for tests of
loading, not of languages. Columns and layouts are as config/benchmarks.yaml and
scripts/multical/data/hub_sft.py say; what else is in them is made up.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from multical import yaml_files

CONFIG = Path(__file__).parents[2] / "config/benchmarks.yaml"
MMLU = Path(__file__).parents[2] / "shared/data/mmlu/mmlu_csv.tar.xz"
GLOBAL_MMLU = (
    "am ar bn cs de el en es fa fil fr ha he hi id ig it ja ko ky lt mg ms ne nl ny pl pt ro ru "
    "si sn so sr sv sw te tr uk vi yo zh"
).split()
MMLU_PROX = (
    "af ar bn cs de en es fr hi hu id it ja ko mr ne pt ru sr sw te th uk ur vi wo yo zh zu"
).split()
SUBJECTS = ("anatomy", "world_religions", "philosophy", "college_mathematics")
#: A word of the language, or of its script
SCRIPTS = {
    "am": "ጥያቄ", "ar": "سؤال", "bn": "প্রশ্ন", "el": "Ερώτηση", "fa": "پرسش", "he": "שאלה",
    "hi": "प्रश्न", "ja": "質問", "ko": "질문", "mr": "प्रश्न", "ne": "प्रश्न", "ru": "Вопрос",
    "si": "ප්‍රශ්නය", "sr": "Питање", "te": "ప్రశ్న", "th": "คำถาม", "uk": "Питання",
    "ur": "سوال", "zh": "问题",
}  # fmt: skip
Files = dict[str, bytes]
Rows = list[dict[str, Any]]


@cache
def mmlu(split: str, count: int) -> list[tuple[str, str, list[str], int]]:
    """(subject, question, four options, index of the right one) in English, subjects in turn.

    None has two options alike.
    """
    made = _real(split, count) if MMLU.exists() else []
    for i in range(len(made), count):
        options = [str(i + step) for step in (1, 2, 3, 4)]
        made.append((SUBJECTS[i % 4], f"What is {i} + {i % 4 + 1} ({split})?", options, i % 4))
    return made


def _real(split: str, count: int) -> list[tuple[str, str, list[str], int]]:
    by_subject = []
    with tarfile.open(MMLU) as archive:
        for subject in SUBJECTS:
            member = archive.extractfile(f"data/{split}/{subject}_{split}.csv")
            assert member is not None
            lines = list(csv.reader(io.TextIOWrapper(member, encoding="utf-8")))
            good = [line for line in lines if len({x.strip() for x in line[1:5]}) == 4]
            by_subject.append([(subject, x[0], x[1:5], "ABCD".index(x[5])) for x in good])
    return [row for rows in zip(*by_subject, strict=False) for row in rows][:count]


@cache
def _entries() -> dict[str, Any]:
    return yaml_files.mapping(CONFIG)["benchmarks"]


def source(name: str, **changes: Any) -> dict[str, Any]:
    """The source of a benchmark of the repository's config, with other values of some keys."""
    return copy.deepcopy(_entries()[name]["source"]) | changes


def told(text: str, language: str) -> str:
    """A text as of another language."""
    return text if language == "en" else f"{SCRIPTS.get(language, language)}: {text}"


def parquet(rows: Rows, schema: pa.Schema | None = None) -> bytes:
    """Rows as the content of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), sink)
    return sink.getvalue()


def card(configs: list[dict[str, Any]]) -> bytes:
    """A data set's card with its configs."""
    return f"---\n{yaml.safe_dump({'configs': configs})}---\n\n# A data set\n".encode()


def splits(rows: dict[str, dict[str, Rows]], schema: pa.Schema | None = None) -> Files:
    """A repository with a config a language, and a file for each of its splits."""
    files: Files = {}
    configs = []
    for language, by_split in rows.items():
        places = []
        for split, own in by_split.items():
            files[f"{language}/{split}-00000-of-00001.parquet"] = parquet(own, schema)
            places.append({"split": split, "path": f"{language}/{split}-*"})
        configs.append({"config_name": language, "data_files": places})
    return {"README.md": card(configs), **files}


GLOBAL_MMLU_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in (
            "sample_id", "subject", "subject_category", "question", "option_a", "option_b",
            "option_c", "option_d", "answer", "required_knowledge", "time_sensitive", "reference",
            "culture", "region", "country", "cultural_sensitivity_label",
        )),
        ("is_annotated", pa.bool_()),
    ]
)  # fmt: skip


def global_mmlu_rows(language: str, split: str, count: int) -> Rows:
    """Rows of Global-MMLU: every third culturally sensitive, agnostic, not annotated."""
    rows = []
    for i, (subject, question, options, answer) in enumerate(mmlu(split, count)):
        label = ("CS", "CA", "-")[i % 3]
        noted = label != "-"
        rows.append(
            {
                "sample_id": f"{subject}/{split}/{i}",
                "subject": subject,
                "subject_category": "Humanities",
                "question": told(question, language),
                **{f"option_{x}": told(o, language) for x, o in zip("abcd", options, strict=True)},
                "answer": "ABCD"[answer],
                "required_knowledge": "['cultural', 'none']" if noted else "[]",
                "time_sensitive": "['No']" if noted else "[]",
                "reference": "['-']" if noted else "[]",
                "culture": "['Western Culture']" if label == "CS" else "[]",
                "region": "['Europe']" if label == "CS" else "[]",
                "country": "['Italy']" if label == "CS" else "[]",
                "cultural_sensitivity_label": label,
                "is_annotated": noted,
            }
        )
    return rows


def global_mmlu(
    languages: list[str] | None = None, test: int = 6, dev: int = 4, **changes: Rows
) -> Files:
    """Global-MMLU, or its Lite with fewer languages; `changes` are a language's test rows."""
    rows = {
        language: {
            "test": changes.get(language) or global_mmlu_rows(language, "test", test),
            "dev": global_mmlu_rows(language, "dev", dev),
        }
        for language in languages or GLOBAL_MMLU
    }
    return splits(rows, GLOBAL_MMLU_SCHEMA)


MMLU_PROX_SCHEMA = pa.schema(
    [
        ("question_id", pa.int64()),
        ("question", pa.string()),
        *((f"option_{i}", pa.string()) for i in range(10)),
        ("answer", pa.string()),
        ("answer_index", pa.int64()),
        ("cot_content", pa.string()),
        ("category", pa.string()),
        ("src", pa.string()),
        ("question_id_src", pa.int64()),
    ]
)


def mmlu_prox_rows(language: str, split: str, count: int) -> Rows:
    """Rows of MMLU-ProX with 10, 9, ... 4 options in turn, null from the last one on."""
    rows = []
    for i, (subject, question, options, answer) in enumerate(mmlu(split, count)):
        every = [*options, *(f"{extra} of {subject}" for extra in range(1, 7))][: 10 - i % 7]
        texts = [told(text, language) for text in every] + [None] * (10 - len(every))
        rows.append(
            {
                "question_id": 100 + i,
                "question": told(question, language),
                **{f"option_{n}": text for n, text in enumerate(texts)},
                "answer": "ABCDEFGHIJ"[answer],
                "answer_index": answer,
                "cot_content": "" if split == "test" else "A: Let's think step by step.",
                "category": subject,
                "src": f"mmlu-{subject}",
                "question_id_src": 100 + i,
            }
        )
    return rows


def contradiction(language: str) -> Rows:
    """Question 3787 as the data set has it: its answer is C by letter, B by index."""
    (row,) = mmlu_prox_rows(language, "test", 1)
    return [{**row, "question_id": 3787, "answer": "C", "answer_index": 1}]


def mmlu_prox(
    languages: list[str] | None = None,
    test: int = 8,
    validation: int = 4,
    contradictory: bool = False,
    **changes: Rows,
) -> Files:
    """MMLU-ProX, or its Lite with fewer questions; `changes` are a language's test rows.

    `contradictory` adds the row of `contradiction` to the test split of each language.
    """
    rows = {
        language: {
            "test": (changes.get(language) or mmlu_prox_rows(language, "test", test))
            + contradiction(language) * contradictory,
            "validation": mmlu_prox_rows(language, "val", validation),
        }
        for language in languages or MMLU_PROX
    }
    return splits(rows, MMLU_PROX_SCHEMA)


def mmmlu(languages: dict[str, str], count: int = 4) -> Files:
    """OpenAI's MMMLU: a config and a CSV file a language; the numbers of rows have no header."""
    files, configs = {}, []
    for name, language in languages.items():
        rows = [
            [told(text, language) for text in (question, *options)] + ["ABCD"[answer], subject]
            for subject, question, options, answer in mmlu("test", count)
        ]
        path = f"test/mmlu_{name.replace('_', '-')}.csv"
        frame = pd.DataFrame(rows, columns=["Question", *"ABCD", "Answer", "Subject"])
        files[path] = frame.to_csv().encode()
        places = [{"split": "test", "path": path}]
        configs.append({"config_name": name, "data_files": places})
    return {"README.md": card(configs), **files}


def belebele_rows(name: str, language: str, count: int = 4) -> Rows:
    """Rows of Belebele: two questions on each passage, whose answers are texts of numbers."""
    rows: Rows = []
    for i, (_, question, options, answer) in enumerate(mmlu("test", count)):
        link = f"https://en.wikibooks.org/wiki/Page_{i // 2}"
        passage = told(f"Passage {i // 2}.", language)
        texts = {f"mc_answer{n}": told(text, language) for n, text in enumerate(options, 1)}
        row = {"link": link, "question_number": i % 2 + 1, "flores_passage": passage}
        asked = {"question": told(question, language), **texts, "ds": "2023-05-03"}
        rows.append({**row, **asked, "correct_answer_num": str(answer + 1), "dialect": name})
    return rows


def belebele(languages: dict[str, str], count: int = 4) -> Files:
    """Belebele: a config and a file of JSON lines a variant of a language."""
    files, configs = {}, []
    for name, language in languages.items():
        path = f"data/{name}.jsonl"
        lines = [json.dumps(row) + "\n" for row in belebele_rows(name, language, count)]
        files[path] = "".join(lines).encode()
        places = [{"split": "test", "path": path}]
        configs.append({"config_name": name, "data_files": places})
    return {"README.md": card(configs), **files}


#: Labels of INCLUDE's questions, in turn
REGIONAL = ("agnostic", "culture", "region explicit", "region implicit")


def include_rows(name: str, language: str, split: str, count: int, lite: bool = False) -> Rows:
    """Rows of INCLUDE, without ids; in its Lite version, options are one list."""
    rows: Rows = []
    for i, (subject, question, options, answer) in enumerate(mmlu(split, count)):
        texts = [told(text, language) for text in options]
        columns = {f"option_{x}": text for x, text in zip("abcd", texts, strict=True)}
        rows.append(
            {
                "language": name, "country": "Somewhere", "domain": "STEM", "subject": subject,
                "regional_feature": REGIONAL[i % 4], "level": "Academic",
                "question": told(question, language),
                **({"choices": texts} if lite else columns),
                "answer": answer,
            }
        )  # fmt: skip
    return rows


def include(languages: dict[str, str], count: int = 4, lite: bool = False) -> Files:
    """INCLUDE, or its Lite version, which has no split validation."""
    rows: dict[str, dict[str, Rows]] = {}
    for name, language in languages.items():
        rows[name] = {"test": include_rows(name, language, "test", count, lite)}
        if not lite:
            rows[name]["validation"] = include_rows(name, language, "val", 2)
    return splits(rows)


def pairs(count: int) -> list[tuple[str, str]]:
    """Questions and answers in English."""
    return [(f"How much is {i} plus {i}?", f"It is {2 * i}.") for i in range(count)]


def _messages(user: str, assistant: str) -> Rows:
    return [{"content": user, "role": "user"}, {"content": assistant, "role": "assistant"}]


TULU_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("messages", pa.list_(pa.struct([("content", pa.string()), ("role", pa.string())]))),
        ("source", pa.string()),
    ]
)


def tulu(count: int = 40, odd: Rows | None = None) -> Files:
    """The Tulu 3 mixture: Parquet in two parts; `odd` are further rows."""
    rows: Rows = [
        {"id": f"x_{i}", "messages": _messages(*pair), "source": "made/up"}
        for i, pair in enumerate(pairs(count))
    ]
    rows += odd or []
    half = len(rows) // 2
    path = {"split": "train", "path": "data/train-*"}
    return {
        "README.md": card([{"config_name": "default", "data_files": [path]}]),
        "data/train-00000-of-00002.parquet": parquet(rows[:half], TULU_SCHEMA),
        "data/train-00001-of-00002.parquet": parquet(rows[half:], TULU_SCHEMA),
    }


def alpaca(count: int = 40) -> Files:
    """Tulu's Stanford Alpaca: JSON Lines, and a card that says nothing."""
    rows = [
        {"dataset": "stanford_alpaca", "id": f"stanford_alpaca_{i}", "messages": _messages(*pair)}
        for i, pair in enumerate(pairs(count))
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    readme = b"---\nlicense: openrail\n---\n"
    return {"README.md": readme, "stanford_alpaca_data.jsonl": text.encode()}


def stanford(count: int = 40) -> Files:
    """Stanford's own Alpaca: instruction, input and output."""
    rows = [
        {"instruction": question, "input": "in words" if i % 2 else "", "output": answer}
        for i, (question, answer) in enumerate(pairs(count))
    ]
    return {"README.md": b"---\nlicense: mit\n---\n", "data/train.parquet": parquet(rows)}


def openhermes(count: int = 40, odd: list[Rows] | None = None) -> Files:
    """OpenHermes 2.5: one JSON file with a list; every fourth row has a system message."""
    rows = []
    for i, (user, assistant) in enumerate(pairs(count)):
        turns = [{"from": "human", "value": user}, {"from": "gpt", "value": assistant}]
        system = [{"from": "system", "value": "Be short." if i % 8 else ""}]
        rows.append(system * (i % 4 == 0) + turns)
    rows += odd or []
    listed = [
        {"conversations": [{"weight": None, **t} for t in turns], "source": "made up"}
        for turns in rows
    ]
    return {
        "README.md": b"---\nlanguage:\n- eng\n---\n",
        "openhermes2_5.json": json.dumps(listed).encode(),
    }


#: Paper 1's data sets by their names at the hub: fewer rows, nothing else
STUDY_1: dict[str, Callable[[], Files]] = {
    "CohereLabs/Global-MMLU": global_mmlu,
    "li-lab/MMLU-ProX": mmlu_prox,
    "arazd/tulu_stanford_alpaca": alpaca,
    "allenai/tulu-3-sft-mixture": tulu,
    "teknium/OpenHermes-2.5": openhermes,
}
