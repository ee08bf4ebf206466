"""Tokenizers are loaded from one reading of their file, and are as without the patch."""

from __future__ import annotations

import copy
import gc
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, GemmaTokenizer

from multical.models import checkpoints
from multical.patches.tokenizers import PARSED, read_once


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tokenizer of the class of Gemma's, and the config of such a model."""
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", "a", "b", "ab", "▁ab"]
    merges: Any = [("a", "b"), ("▁", "ab")]
    made = GemmaTokenizer(vocab={mark: place for place, mark in enumerate(marks)}, merges=merges)
    made.add_tokens(["<start>"], special_tokens=True)
    made.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gemma3_text"}', encoding="utf-8")
    return tmp_path


def test_the_same_tokenizer_from_one_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, load, read = AutoTokenizer.from_pretrained(folder), json.load, []

    def count(stream: Any, **options: Any) -> Any:
        read.append(Path(stream.name).name)
        assert not gc.isenabled()
        return load(stream, **options)

    monkeypatch.setattr(json, "load", count)
    ours: Any = checkpoints.load_tokenizer(folder)
    assert gc.isenabled()
    assert read.count("tokenizer.json") == 1
    assert type(ours) is GemmaTokenizer
    assert ours.backend_tokenizer.to_str() == plain.backend_tokenizer.to_str()
    assert ours.added_tokens_decoder == plain.added_tokens_decoder
    assert ours("ab ab<start>")["input_ids"] == plain("ab ab<start>")["input_ids"]


def test_nothing_is_kept_that_is_not_read(folder: Path, tmp_path: Path) -> None:
    """Its tokens, and the files that it saves, are as before."""
    plain: Any = AutoTokenizer.from_pretrained(folder, **checkpoints.SAFE)
    ours: Any = checkpoints.load_tokenizer(folder)
    assert all(len(vars(plain)[name]) for name in PARSED)
    assert not vars(ours).keys() & set(PARSED)
    assert ours.get_vocab() == plain.get_vocab()
    saved = [tmp_path / name for name in ("plain", "ours")]
    for one, place in zip((plain, copy.deepcopy(ours)), saved, strict=True):
        one.save_pretrained(place)
    first, second = ({one.name: one.read_bytes() for one in place.iterdir()} for place in saved)
    assert first == second


def test_other_files_are_read_as_ever(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).write_text(f'["{name}"]', encoding="utf-8")
    with read_once(tmp_path / "tokenizer.json"):
        for name in ("one", "other"):
            with open(tmp_path / name, encoding="utf-8") as stream:
                assert json.load(stream) == [name]
