"""The schemas of questions and conversations: what is read back, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multical import jsonl
from multical.data import conversations, questions
from multical.data.odd_rows import OddRows
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


ODD = [
    GOOD | {"question_id": "q2", "options": ["caf\u00e9", " cafe\u0301"]},  # the same after NFC
    GOOD | {"question_id": "q3", "question": ""},
    GOOD | {"question_id": "q4", "answer": None},
    GOOD | {"question_id": "q5", "options": ["4", "4"]},
    GOOD | {"question_id": "q6", "options": ["4", None]},
    GOOD | {"question_id": "q7", "options": ["4"], "answer": 0},
    GOOD | {"question_id": "q8", "answer": 7},
]


def test_all_odd_questions_are_named_or_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lines(tmp_path / "a.jsonl", GOOD, *ODD)
    kinds = (
        f"two options alike (2: {path} lines 2, 5), an empty text (2: {path} lines 3, 6), "
        f"no right option (2: {path} lines 4, 8), too few or too many options (1: {path} line 7)"
    )
    with pytest.raises(InputError) as caught:
        questions.read(path, OddRows("error"))
    assert str(caught.value) == (
        f"{path}: line 2: options: found two alike in ['café', ' cafe\u0301'], expected different "
        f"ones; 7 rows in all: {kinds}; odd_rows: leave_out leaves such rows out"
    )
    odd = OddRows("leave_out")
    assert list(questions.read(path, odd)["question_id"]) == ["q1"]
    assert capsys.readouterr().err == f"left out: {kinds}\n"
    assert odd.by_group == {("en", None): 7}
    with pytest.raises(InputError, match="found no questions but odd rows: two options alike"):
        questions.read(lines(tmp_path / "b.jsonl", *ODD), OddRows("leave_out"))


def test_rows_of_another_schema_are_never_left_out(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", GOOD, ODD[0], GOOD | {"answer": "B"}, GOOD | {"choices": []})
    with path.open("a") as stream:
        stream.write("{oops\n")
    with pytest.raises(InputError) as caught:
        questions.read(path, OddRows("leave_out"))
    assert str(caught.value) == (
        f"{path}: line 3: answer: found 'B', expected an integer from 0 to 1; 3 rows in all: "
        f"no number as answer (1: {path} line 3), unknown columns (1: {path} line 4), "
        f"not JSON (1: {path} line 5)"
    )


def test_only_some_of_many_rows_are_listed_by_number(tmp_path: Path) -> None:
    rows = [GOOD | {"question_id": f"q{i}", "question": ""} for i in range(1000)]
    with pytest.raises(InputError, match=r"an empty text \(1000: \S+ lines 1, 2, .*, 20; and 980"):
        questions.read(lines(tmp_path / "a.jsonl", *rows))


#: Texts that readers of tables take for nothing, numbers, dates or truth values
LOOKALIKES = ["None", "NA", "N/A", "null", "nan", "NaN", "01", "1e5", "2020-01-01", "true"]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_texts_stay_texts(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    rows = [
        GOOD | {"options": LOOKALIKES, "question_id": text, "question": text, "subject": text}
        for text in LOOKALIKES
    ]
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        lines(path, *rows)
    questions.write(tmp_path / "made.parquet", questions.read(path))
    again = questions.read(tmp_path / "made.parquet")
    for column in ("question_id", "question", "subject"):
        assert sorted(again[column]) == sorted(LOOKALIKES)
    assert list(again["options"]) == [LOOKALIKES] * len(LOOKALIKES)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('"\\ud83d"', r"line 1: found \\ud83d, half of a character, expected whole ones"),
        ('{"x": "\\uDE00\\uD83D"}', r"line 1: found \\ude00, half of a character"),
        ("[" * 100_000, "line 1: found lists or objects too deep inside each other"),
        ('{"a":' * 5000, "line 1: found lists or objects too deep"),
        ("7" * 5000, "line 1: found an integer with thousands of digits"),
        ("[1,", r"line 1: not JSON \(Expecting value"),
    ],
)
def test_json_that_cannot_be_read(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.jsonl").write_text(text + "\n", encoding="utf-8")
    for read in (questions.read, conversations.read, lambda path: [*jsonl.read(path)]):
        with pytest.raises(InputError, match=sentence) as caught:
            read(tmp_path / "a.jsonl")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


def test_whole_characters_in_escapes_are_fine() -> None:
    assert jsonl.parse(r'"\ud83d\ude00 \\ud83d"') == "\N{GRINNING FACE} \\ud83d"


def test_a_number_too_large_for_a_column(tmp_path: Path) -> None:
    sentence = "line 1: answer: found 1000000000.*, expected an integer from 0 to 1"
    with pytest.raises(InputError, match=sentence):
        questions.read(lines(tmp_path / "a.jsonl", GOOD | {"answer": 10**4000}))


def test_bad_parquet_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([GOOD, GOOD | {"question_id": "q2", "answer": 1.5}]), path)
    with pytest.raises(InputError, match=r"row 0: answer: found 1.0, expected an integer"):
        questions.read(path)
    latin = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xe9")]
    )
    pq.write_table(pa.table({"question_id": latin}), path)
    with pytest.raises(InputError, match="not a readable Parquet file"):
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
        ([1], "line 1: found 'list', expected an object with messages, and id"),
        ({"id": "c"}, r"line 1: found \['id'\], expected an object with messages"),
        (turns("user", "assistant") | {"id": 1}, "line 1: id: found 1"),
        ({"id": "c", "messages": {}}, "line 1: messages: found {}, expected a list"),
        ({"id": "c", "messages": []}, r"line 1: found roles \[\]"),
        ({"id": "c", "messages": [{"role": "user"}]}, "line 1: message 0: expected an object"),
        (turns("user", "assistant", content=3), "line 1: message 0: content: found 3"),  # type: ignore[arg-type]
        ({"messages": [{"role": [], "content": "x"}]}, r"line 1: message 0: role: found \[\]"),
        (turns("assistant", "user"), "line 1: found roles .*expected user and assistant in turn"),
        (turns("user", "user"), "expected user and assistant in turn"),
        (turns("user", "system", "assistant"), "expected user and assistant in turn"),
        (turns("user", "tool"), "expected user and assistant in turn"),
        (turns("system"), r"found roles \['system'\], expected user and assistant in turn"),
        (turns("user", "assistant", content=" "), "line 1: message 1: found an empty answer"),
    ],
)
def test_a_bad_conversation_is_named(tmp_path: Path, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        conversations.read(lines(tmp_path / "a.jsonl", value))


def test_a_conversation_needs_no_id(tmp_path: Path) -> None:
    value = {"messages": turns("user", "assistant")["messages"]}
    path = lines(tmp_path / "a.jsonl", value, value | {"id": "mine"}, value)
    found = conversations.read(path)
    assert [one["id"] for one in found] == ["line.1", "mine", "line.3"]
    conversations.write(tmp_path / "b.jsonl", found)
    assert conversations.read(tmp_path / "b.jsonl") == found


def test_a_conversation_id_is_unique(tmp_path: Path) -> None:
    value = turns("user", "assistant")
    with pytest.raises(InputError, match="line 2: id 'c' was in line 1"):
        conversations.read(lines(tmp_path / "a.jsonl", value, value))
