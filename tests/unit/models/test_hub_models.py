"""Models laid out as paper 1's and lite's at the hub: fetched, scored, trained by our programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch.nn import functional

import fetch_model
import score_run
import train_sft
from multical import records
from multical.data import conversations, questions
from multical.errors import InputError
from multical.models import checkpoints
from multical.models.chat import Chat, letter_ids
from support import architectures, hub_models, hub_server, tiny
from support.hub_server import GOOD_TOKEN, Hub
from support.programs import SCORING, TRAINING

TEXTS = [
    "What is 2 + 2 ? It 's 4 , isn't it.",
    "  two  spaces\n\nnew line\t.",
    "ጥያቄ سؤال প্রশ্ন Ερώτηση שאלה प्रश्न 質問 질문 ප්‍රශ්නය ప్రశ్న คำถาม",
    "ẹ̀kọ́ ünïcode ⚽ 👩‍🔬 zł",
]
MODELS = hub_models.MODELS | hub_models.LITE
#: What the real tokenizers say of themselves: bos, eos and pad
MARKS = {
    "mistralai/Mistral-7B-v0.1": ("<s>", "</s>", None),
    "meta-llama/Llama-3.1-8B": ("<|begin_of_text|>", "<|end_of_text|>", None),
    "google/gemma-2-2b": ("<bos>", "<eos>", "<pad>"),
    "Qwen/Qwen3-0.6B-Base": (None, "<|endoftext|>", "<|endoftext|>"),
}
EACH = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with hub_server.serve() as served:
        for name, (make, gated) in MODELS.items():
            served.add("models", name, make(), gated)
        yield served


def fetch(
    hub: Hub, name: str, out: Path, patch: pytest.MonkeyPatch, token: str, **more: Any
) -> Path:
    """Run fetch_model.py on a model of the hub; returns the manifest's path."""
    revision = hub.repos["models", name].revision
    source = {"kind": "hub", "repo": name, "revision": revision, **more}
    hub.point(patch, out / "cache", token)
    arguments = ["--checkpoint", out / "checkpoint", "--manifest", out / "manifest.json"]
    patch.setattr(
        sys,
        "argv",
        ["fetch_model.py", "--params", json.dumps({"source": source}), *map(str, arguments)],
    )
    fetch_model.main()
    return out / "manifest.json"


@pytest.fixture(scope="module")
def fetched(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The manifest of each model, and what was asked of the hub."""
    manifests = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in MODELS:
            out = tmp_path_factory.mktemp("model")
            manifests[name] = fetch(hub, name, out, patch, GOOD_TOKEN)
    return manifests


@EACH
def test_only_what_is_needed_is_downloaded(hub: Hub, fetched: dict[str, Path], name: str) -> None:
    start = f"/{name}/resolve/"
    asked = {path.removeprefix(start).split("/", 1)[1] for _, path, _ in hub.requests
             if path.startswith(start)}  # fmt: skip
    files = set(hub.repos["models", name].files)
    clutter = {file for file in files if "/" in file or file.endswith((".bin", ".md"))}
    assert clutter
    assert not asked & clutter
    assert asked == files - clutter
    assert any(file.endswith(".safetensors") for file in asked)


@pytest.mark.parametrize("name", [name for name, (_, gated) in MODELS.items() if gated])
def test_gated_without_a_token(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with pytest.raises(InputError) as caught:
        fetch(hub, name, tmp_path, monkeypatch, "")
    revision = hub.repos["models", name].revision
    assert str(caught.value) == (
        f"hub: cannot download {name} at {revision} (gated, and there is no token: ask for "
        f"access at {hub.url}/{name}, then hf auth login or set HF_TOKEN)"
    )


@EACH
@pytest.mark.parametrize("links", [True, False])
def test_files_that_are_kept_as_they_are_hold_the_same_weights(
    hub: Hub,
    fetched: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    links: bool,
) -> None:
    def refused(*_: object) -> None:
        raise OSError("another disk")

    if not links:
        monkeypatch.setattr(fetch_model.os, "link", refused)
    manifest = fetch(hub, name, tmp_path, monkeypatch, GOOD_TOKEN, as_is=True)
    folder = checkpoints.verified(manifest)
    kept = hub.repos["models", name].files
    for path in folder.iterdir():
        assert path.read_bytes() == kept[path.name]
        assert not path.is_symlink()  # the hub's cache may go
        assert (path.stat().st_nlink > 1) == links
    shards = sum(path.suffix == ".safetensors" for path in folder.iterdir())
    assert shards > 1 if name in hub_models.MODELS else shards == 1
    assert json.loads(manifest.read_text())["source"]["as_is"] is True
    (own, tokenizer), (model, _) = (
        checkpoints.load(checkpoints.verified(one)) for one in (manifest, fetched[name])
    )
    ids = torch.tensor([tokenizer(TEXTS[0])["input_ids"]])
    with torch.no_grad():
        assert torch.equal(own(ids).logits, model(ids).logits)


#: Two shards, one of them in a folder, and what else lies in folders and in the hub's cache
DEEP = "llama/deep"
INDEX = "model.safetensors.index.json"


def sharded(hub: Hub, source: Path, named: str = "sub/2.safetensors") -> dict[str, bytes]:
    """Serve a model whose last shard lies in a folder; `named` is what its index calls that."""
    tiny.model("llama").save_pretrained(source, max_shard_size="40KB")
    tiny.tokenizer().save_pretrained(source)
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    index = json.loads(files[INDEX])
    last = max(index["weight_map"].values())
    for name, place in index["weight_map"].items():
        index["weight_map"][name] = named if place == last else place
    files |= {INDEX: json.dumps(index).encode(), "sub/2.safetensors": files.pop(last)}
    files |= {"fp16/model.safetensors": b"another", "sub/README.md": b""}
    hub.add("models", DEEP, files)
    return files


@pytest.mark.parametrize("as_is", [False, True])
def test_weights_in_a_folder(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_is: bool
) -> None:
    files = sharded(hub, tmp_path / "source")
    manifest = fetch(hub, DEEP, tmp_path, monkeypatch, "", as_is=as_is)
    listed = json.loads(manifest.read_text())["files"]
    assert not as_is or {*listed} == files.keys() - {"fp16/model.safetensors", "sub/README.md"}
    model, _ = checkpoints.load(checkpoints.verified(manifest))
    ids = torch.tensor([[0, 5, 90, 33]])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, tiny.model("llama")(ids).logits)


def test_what_others_left_in_the_cache_is_not_taken(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharded(hub, tmp_path / "source")
    manifest = fetch(hub, DEEP, tmp_path, monkeypatch, "", as_is=True)
    first = manifest.read_bytes()
    (cached,) = (tmp_path / "cache").rglob(INDEX)
    for name in ("pytorch_model.bin", "consolidated.safetensors", "README.md"):
        (cached.parent / name).write_bytes(b"more")
    fetch(hub, DEEP, tmp_path, monkeypatch, "", as_is=True)
    assert manifest.read_bytes() == first


@pytest.mark.parametrize("as_is", [False, True])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "../2.safetensors",
            f"{INDEX}: found '../2.safetensors', expected safetensors in its folder",
        ),
        ("/2.safetensors", f"{INDEX}: found '/2.safetensors', expected safetensors in its folder"),
        ("sub/2.bin", f"{INDEX}: found 'sub/2.bin', expected safetensors in its folder"),
        ("sub/3.safetensors", "3.safetensors"),
    ],
)
def test_weights_outside_of_the_model(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_is: bool, name: str, sentence: str
) -> None:
    sharded(hub, tmp_path / "source", name)
    with pytest.raises(InputError) as caught:
        fetch(hub, DEEP, tmp_path, monkeypatch, "", as_is=as_is)
    assert sentence in str(caught.value)
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("as_is", [False, True])
def test_a_tokenizer_of_vocabulary_and_merges(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_is: bool
) -> None:
    """As GPT-2, GPT-J and CodeGen were saved, without a tokenizer.json."""
    made = tiny.tokenizer(None)
    bpe = json.loads(made.backend_tokenizer.to_str())["model"]
    source = tmp_path / "source"
    architectures.model("gptj", vocab_size=len(made), n_inner=48).save_pretrained(source)
    (source / "vocab.json").write_text(json.dumps(bpe["vocab"]))
    (source / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, bpe["merges"])))
    (source / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "GPT2Tokenizer", **tiny.SPECIAL})
    )
    hub.add("models", "old/gptj", source)
    manifest = fetch(hub, "old/gptj", tmp_path, monkeypatch, "", as_is=as_is)
    folder = checkpoints.verified(manifest)
    _, tokenizer = checkpoints.load(folder)
    assert (folder / "tokenizer.json").exists() != as_is
    for text in (*TEXTS, *tiny.CORPUS):
        expected = made(text, add_special_tokens=False)["input_ids"]
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == expected


@EACH
def test_the_tokenizer_is_of_the_real_kind(fetched: dict[str, Path], name: str) -> None:
    model, tokenizer = checkpoints.load(checkpoints.verified(fetched[name]))
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == MARKS[name]
    assert (tokenizer.chat_template is None) == (name in hub_models.MODELS)
    begins = tokenizer.bos_token is not None
    assert len(tokenizer) == model.config.vocab_size
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        assert (ids[0] == tokenizer.bos_token_id) == begins
        assert tokenizer.unk_token is None or tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    for letter, ids in zip("ABCDEFGHIJ", letter_ids(tokenizer, "ABCDEFGHIJ"), strict=True):
        assert {str(tokenizer.decode([i])).strip() for i in ids} == {letter}
    answer = [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "Σo."}]
    ids, labels = Chat(tokenizer, "tulu").encode_for_training(answer)  # type: ignore[arg-type]
    marks = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert [ids.count(mark) for mark in marks] == [begins, 1]
    trained = [label for label in labels if label >= 0]
    assert tokenizer.decode(trained) == "Σo." + tokenizer.eos_token


@EACH
def test_its_questions_are_scored(
    fetched: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    rows = [
        {"question_id": f"q{i}", "language": language, "subject": "x", "culture": None,
         "question": f"{text} {i}", "options": ["4", TEXTS[2][:9], "2 + 2"], "answer": i % 3}
        for language, text in {"en": TEXTS[0], "ko": TEXTS[2]}.items() for i in range(4)
    ]  # fmt: skip
    questions.write(tmp_path / "q.parquet", pd.DataFrame(rows))
    found = {}
    for label, tokens in (("together", 2048), ("alone", 1)):
        params = {**SCORING, "chat_format": "tulu", "batch_tokens": tokens}
        arguments = {"--model": fetched[name], "--questions": tmp_path / "q.parquet",
                     "--params": json.dumps(params), "--output": tmp_path / "r.parquet",
                     "--usage": tmp_path / "usage.json",
                     "--scratch": tmp_path / "scratch"}  # fmt: skip
        flat = [str(part) for pair in arguments.items() for part in pair]
        monkeypatch.setattr(sys, "argv", ["score_run.py", *flat])
        score_run.main()
        found[label] = records.read([tmp_path / "r.parquet"])
    assert len(found["together"]) == len(rows)
    for column in ("letter_logits", "text_logliks"):
        together, alone = (torch.tensor([*map(list, found[key][column])]) for key in found)
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
        assert together.std(dim=1).min() > 1e-3  # the options differ


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@EACH
def test_it_is_fine_tuned(
    fetched: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    smoothing: float,
) -> None:
    pairs = tiny.pairs(4)  # of different lengths: the tokenizer may have no token to pad with
    conversations.write(tmp_path / "data.jsonl", pairs)
    params = {**TRAINING, "chat_format": "tulu", "smoothing": smoothing, "steps": 2}
    arguments = {"--model": fetched[name], "--data": tmp_path / "data.jsonl",
                 "--params": json.dumps(params), "--manifest": tmp_path / "manifest.json",
                 "--checkpoint": tmp_path / "checkpoint", "--loss-log": tmp_path / "loss.jsonl",
                 "--usage": tmp_path / "usage.json", "--scratch": tmp_path / "scratch"}  # fmt: skip
    flat = [str(part) for pair in arguments.items() for part in pair]
    monkeypatch.setattr(sys, "argv", ["train_sft.py", *flat])
    train_sft.main()
    log = [json.loads(line) for line in (tmp_path / "loss.jsonl").read_text().splitlines()]
    assert len(log) == 2
    assert log[0]["loss"] == pytest.approx(loss(fetched[name], pairs, smoothing), rel=1e-4)

    _, before = checkpoints.load(checkpoints.verified(fetched[name]))
    model, after = checkpoints.load(checkpoints.verified(tmp_path / "manifest.json"))
    bos, eos, pad = MARKS[name]
    # TRL pads with eos where there is no other, masked, and the checkpoint keeps that
    assert (after.bos_token, after.eos_token, after.pad_token) == (bos, eos, pad or eos)
    assert [after(text)["input_ids"] for text in TEXTS] == [
        before(text)["input_ids"] for text in TEXTS
    ]
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def loss(manifest: Path, pairs: list[Any], smoothing: float) -> float:
    """The smoothed loss a token, each conversation by itself."""
    model, tokenizer = checkpoints.load(manifest.parent / "checkpoint")
    chat, total, count = Chat(tokenizer, "tulu"), 0.0, 0
    for pair in pairs:
        ids, labels = chat.encode_for_training(pair["messages"])
        targets = torch.tensor(labels[1:])
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, :-1]
        total += functional.cross_entropy(
            logits, targets, label_smoothing=smoothing, reduction="sum"
        ).item()
        count += int((targets >= 0).sum())
    return total / count
