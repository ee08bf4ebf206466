"""The schemas of questions and conversations: what is read back, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multical.data import conversations, questions
from multical.errors import InputError

ROW = {"question_id": "q1", "language": "en", "question": "2 + 2?", "options": ["3", "4"]}
GOOD = ROW | {"answer": 1}


def lines(path: Path, *values: Any) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def test_jsonl_and_parquet_give_the_same_questions(tmp_path: Path) -> None:
    rows = [
        GOOD | {"language": "zh-Hant", "subject": "maths", "culture": "CS"},
        GOOD | {"options": list("abcdefghij")},
    ]
    frame = questions.read(lines(tmp_path / "a.jsonl", *rows))
    questions.write(tmp_path / "a.parquet", frame)
    again = questions.read(tmp_path / "a.parquet")
    assert list(again["language"]) == ["en", "zh-Hant"]
    assert list(again["options"]) == [list("abcdefghij"), ["3", "4"]]
    assert list(again["subject"]) == [None, "maths"]
    assert list(again["culture"]) == [None, "CS"]
    questions.write(tmp_path / "b.parquet", frame[::-1])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (ROW, r"a.jsonl: line 2: missing columns \['answer'\]"),
        (GOOD | {"choices": []}, r"line 2: unknown columns \['choices'\]"),
        (["no", "object"], "line 2: found list, expected an object"),
        (GOOD | {"question_id": 7}, "line 2: question_id: found 7"),
        (GOOD | {"question": "  "}, "line 2: question: found '  '"),
        (GOOD | {"language": "en_US"}, "line 2: language: found 'en_US', expected a BCP 47 tag"),
        (GOOD | {"subject": 3}, "line 2: subject: found 3"),
        (GOOD | {"culture": "cs"}, "line 2: culture: found 'cs', expected CS, CA or null"),
        (GOOD | {"options": "ab"}, "line 2: options: found 'ab', expected a list"),
        (GOOD | {"options": ["a", None]}, "line 2: options: .*expected a list of texts"),
        (GOOD | {"options": ["a", ""]}, "line 2: options: .*expected a list of texts"),
        (GOOD | {"options": ["4"], "answer": 0}, "line 2: options: found 1, expected 2 to 10"),
        (GOOD | {"options": list("abcdefghijk")}, "line 2: options: found 11"),
        (GOOD | {"options": ["4", "4 "]}, "line 2: options: found two alike"),
        (GOOD | {"answer": 2}, "line 2: answer: found 2, expected an integer from 0 to 1"),
        (GOOD | {"answer": -1}, "line 2: answer: found -1"),
        (GOOD | {"answer": True}, "line 2: answer: found True"),
        (GOOD | {"answer": "B"}, "line 2: answer: found 'B'"),
        (GOOD | {"question_id": "q0"}, "line 2: question_id 'q0' in .*'en' was already in line 1"),
    ],
)
def test_a_bad_question_is_named(tmp_path: Path, row: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        questions.read(lines(tmp_path / "a.jsonl", GOOD | {"question_id": "q0"}, row))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", b"", "found no questions"),
        ("a.jsonl", b"\n\n{oops\n", "line 3: not JSON"),
        ("a.jsonl", b"\xff\xfe", "not a readable UTF-8 file"),
        ("a.parquet", b"PAR1", "not a readable Parquet file"),
        ("a.csv", b"", "found suffix '.csv', expected .parquet or .jsonl"),
        ("a.jsonl", None, "not a readable UTF-8 file"),
        ("a.parquet", None, "not a readable Parquet file"),
    ],
)
def test_a_bad_file_is_named(
    tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: .*{sentence}|{name}: {sentence}"):
        questions.read(tmp_path / name)


def test_bad_parquet_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([GOOD, GOOD | {"question_id": "q2", "answer": 1.5}]), path)
    with pytest.raises(InputError, match=r"row 0: answer: found 1.0, expected an integer"):
        questions.read(path)
    pq.write_table(pa.table({"question_id": pa.array([], pa.string())}), path)
    with pytest.raises(InputError, match="found no questions"):
        questions.read(path)


def test_nothing_is_written_on_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 0: answer"):
        questions.write(tmp_path / "a.parquet", pd.DataFrame([GOOD | {"answer": 9}]))
    with pytest.raises(InputError, match="found no conversations"):
        conversations.write(tmp_path / "a.jsonl", [])
    assert not list(tmp_path.iterdir())


def turns(*roles: str, content: str = "text") -> dict[str, Any]:
    return {"id": "c", "messages": [{"role": role, "content": content} for role in roles]}


def test_conversations_come_back(tmp_path: Path) -> None:
    good: list[Any] = [
        turns("system", "user", "assistant") | {"id": "ä"},
        turns("user", "assistant", "user"),
    ]
    conversations.write(tmp_path / "a.jsonl", good)
    assert conversations.read(tmp_path / "a.jsonl") == good


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([1], "line 1: found list, expected an object with id and messages"),
        ({"id": "c"}, r"line 1: found \['id'\], expected an object with id and messages"),
        (turns("user", "assistant") | {"id": 1}, "line 1: id: found 1"),
        ({"id": "c", "messages": []}, "line 1: messages: found"),
        ({"id": "c", "messages": [{"role": "user"}]}, "line 1: message 0: expected an object"),
        (turns("user", "assistant", content=3), "line 1: message 0: content: found 3"),  # type: ignore[arg-type]
        (turns("assistant", "user"), "line 1: found roles .*expected user and assistant in turn"),
        (turns("user", "user"), "expected user and assistant in turn"),
        (turns("user", "system", "assistant"), "expected user and assistant in turn"),
        (turns("user", "tool"), "expected user and assistant in turn"),
        (turns("system"), "found no assistant message with content"),
        (turns("user", "assistant", content=" "), "found no assistant message with content"),
    ],
)
def test_a_bad_conversation_is_named(tmp_path: Path, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        conversations.read(lines(tmp_path / "a.jsonl", value))


def test_a_conversation_id_is_unique(tmp_path: Path) -> None:
    value = turns("user", "assistant")
    with pytest.raises(InputError, match="line 2: id 'c' was in line 1"):
        conversations.read(lines(tmp_path / "a.jsonl", value, value))
