"""Programs that record what they read refuse a file that changes while they read it."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import make_benchmark
import make_sft_data
import train_sft
from multical.data.benchmark_params import QuestionFile
from multical.data.sft_params import SftFile
from multical.errors import InputError

QUESTION = {"question_id": "1", "language": "en", "question": "?", "options": ["a", "b"]}
TALK = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A file of questions and conversations, of which the tests read one kind."""
    return tmp_path / "given.jsonl"


def read_and_change(monkeypatch: pytest.MonkeyPatch, module: Any, row: dict[str, Any]) -> None:
    """Have another file in the place of what `module.read` has just read."""
    read = module.read

    def changed(path: Path, *more: Any) -> Any:
        found = read(path, *more)
        Path(path).write_text(json.dumps(row), encoding="utf-8")
        return found

    monkeypatch.setattr(module, "read", changed)


def test_questions(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given.write_text(json.dumps(QUESTION | {"answer": 0}), encoding="utf-8")
    source = QuestionFile(kind="file", path=str(given))
    (digest,) = make_benchmark.make(source, False)[2].values()
    assert len(digest) == 64
    read_and_change(monkeypatch, make_benchmark.questions, QUESTION | {"answer": 1})
    with pytest.raises(InputError, match=r"given\.jsonl: changed while it was read"):
        make_benchmark.make(source, False)


def test_conversations(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given.write_text(json.dumps({"messages": TALK}), encoding="utf-8")
    read_and_change(monkeypatch, make_sft_data.conversations, {"messages": TALK * 2})
    with pytest.raises(InputError, match=r"given\.jsonl: changed while it was read"):
        make_sft_data.copy(SftFile(kind="file", path=str(given)), False, tmp_path / "made.jsonl")
    assert not (tmp_path / "made.jsonl").exists()


def test_training_data(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which a long training would record as they are at its end."""
    given.write_text(json.dumps({"messages": TALK}), encoding="utf-8")
    read_and_change(monkeypatch, train_sft.conversations, {"messages": TALK * 2})
    monkeypatch.setattr(train_sft.checkpoints, "verified", lambda *args, **named: None)
    group: Any = SimpleNamespace(first=nullcontext, main=True)
    args: Any = SimpleNamespace(model=given, data=given)
    with pytest.raises(InputError, match=r"given\.jsonl: changed while it was read"):
        train_sft.run(args, SimpleNamespace(), group)  # type: ignore[arg-type]
