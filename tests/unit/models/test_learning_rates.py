"""A learning rate from trial to run: held-out losses, the choice, the run that is a trial."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import adopt_trial
import choose_learning_rate
import evaluate_sft
import train_sft
from multical.data import conversations
from multical.errors import InputError
from multical.models import checkpoints
from multical.models.chat import IGNORED, Chat
from multical.provenance import usage
from multical.provenance.usage import Clock
from support import tiny
from support.programs import TRAINING as PARAMS

SETTINGS = {
    "run": "r",
    "chat_format": "tulu",
    "max_length": 64,
    "dtype": "float32",
    "matmul_precision": "highest",
}


def run(monkeypatch: pytest.MonkeyPatch, program: ModuleType, **options: Any) -> None:
    words = [str(program.__file__)]
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *map(str, values)]
    monkeypatch.setattr(sys, "argv", words)
    program.main()


def evaluate(monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: Any) -> dict[str, Any]:
    run(
        monkeypatch,
        evaluate_sft,
        model=folder / "manifest.json",
        data=folder / "heldout.jsonl",
        params=json.dumps({**SETTINGS, **changes}),
        output=folder / "heldout.json",
    )
    found: dict[str, Any] = json.loads((folder / "heldout.json").read_text())
    return found


def plainly(folder: Path, max_length: int) -> tuple[float, int]:
    """The definition, in numpy: each answer's token given all before it."""
    model, tokenizer = checkpoints.load(folder / "checkpoint")
    total, count = 0.0, 0
    for one in tiny.pairs():
        ids, labels = Chat(tokenizer, "tulu").encode_for_training(one["messages"])
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].numpy().astype(np.float64)
        for place in range(1, min(len(ids), max_length)):
            if labels[place] != IGNORED:
                before = logits[place - 1]
                total += np.log(np.exp(before - before.max()).sum()) + before.max()
                total -= before[ids[place]]
                count += 1
    return total / count, count


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
@pytest.mark.parametrize("max_length", [200, 45])
def test_held_out_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, max_length: int
) -> None:
    tiny.folder(tmp_path, kind)
    conversations.write(tmp_path / "heldout.jsonl", tiny.pairs())
    found = evaluate(monkeypatch, tmp_path, max_length=max_length)
    loss, tokens = plainly(tmp_path, max_length)
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["tokens"] == tokens
    assert found["run"] == "r"
    first = (tmp_path / "heldout.json").read_bytes()
    evaluate(monkeypatch, tmp_path, max_length=max_length)
    assert (tmp_path / "heldout.json").read_bytes() == first


def test_held_out_conversations_without_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.folder(tmp_path)
    conversations.write(tmp_path / "heldout.jsonl", tiny.pairs())
    with pytest.raises(InputError, match=r"heldout\.jsonl: no token to train in 10"):
        evaluate(monkeypatch, tmp_path, max_length=8)
    assert not (tmp_path / "heldout.json").exists()


def trial(folder: Path, rate: float, loss: float, tokens: int = 9) -> tuple[Path, Path]:
    name = f"m.own.lr{rate:g}"
    (folder / name).mkdir(parents=True, exist_ok=True)
    manifest, held = folder / name / "manifest.json", folder / name / "heldout.json"
    manifest.write_text(json.dumps({"run": name, "params": {"learning_rate": rate}}))
    held.write_text(json.dumps({"run": name, "loss": loss, "tokens": tokens, "conversations": 3}))
    return manifest, held


def choose(monkeypatch: pytest.MonkeyPatch, folder: Path, *trials: tuple[Path, Path]) -> Any:
    manifests, losses = map(list, zip(*trials, strict=True))
    output = folder / "choice.json"
    run(monkeypatch, choose_learning_rate, manifests=manifests, losses=losses, output=output)
    return json.loads(output.read_text())


def test_the_least_loss_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [trial(tmp_path, rate, loss) for rate, loss in ((1e-3, 2.5), (1e-5, 2.0), (1e-4, 2.0))]
    for order in (trials, trials[::-1]):  # of equal losses the smaller rate
        found = choose(monkeypatch, tmp_path, *order)
        assert (found["run"], found["learning_rate"]) == ("m.own.lr1e-05", 1e-5)
    assert [one["loss"] for one in found["trials"]] == [2.0, 2.0, 2.5]


def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = trial(tmp_path, 1e-3, 2.5), trial(tmp_path, 1e-4, 2.0, tokens=8)
    with pytest.raises(InputError, match="expected all on the same conversations"):
        choose(monkeypatch, tmp_path, first, second)
    with pytest.raises(InputError, match=r"of 'm\.own\.lr0\.001', expected 'm\.own\.lr0\.0001'"):
        choose(monkeypatch, tmp_path, (second[0], first[1]))
    second[1].write_text("{}")
    with pytest.raises(InputError, match="not a trial and its loss"):
        choose(monkeypatch, tmp_path, first, second)
    assert not (tmp_path / "choice.json").exists()


def train(
    monkeypatch: pytest.MonkeyPatch, base: Path, name: str, rate: float | None, **more: Any
) -> Path:
    folder = base / "runs" / name
    run(
        monkeypatch,
        train_sft,
        model=base / "base" / "manifest.json",
        data=base / "data.jsonl",
        params=json.dumps(
            {**PARAMS, "run": name, "steps": 2, "learning_rate": rate, "epochs": None}
        ),
        manifest=folder / "manifest.json",
        checkpoint=folder / "checkpoint",
        loss_log=folder / "loss.jsonl",
        usage=folder / "usage.json",
        scratch=base / name,
        **more,
    )
    return folder


def test_from_trials_to_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.folder(tmp_path / "base")
    conversations.write(tmp_path / "data.jsonl", tiny.pairs())
    names = {1e-3: "m.own.lr0.001", 1e-1: "m.own.lr0.1"}
    folders = [train(monkeypatch, tmp_path, name, rate) for rate, name in names.items()]
    for folder, loss in zip(folders, (3.0, 2.0), strict=True):
        held = {"run": folder.name, "loss": loss, "tokens": 9, "conversations": 3}
        (folder / "heldout.json").write_text(json.dumps(held))
    choose(monkeypatch, tmp_path, *((f / "manifest.json", f / "heldout.json") for f in folders))
    choice = tmp_path / "choice.json"

    # another run takes the learning rate, and is what one with it written out is
    chosen = train(monkeypatch, tmp_path, "other", None, learning_rate=choice)
    written = train(monkeypatch, tmp_path, "written", 1e-1)
    assert json.loads((chosen / "manifest.json").read_text())["params"]["learning_rate"] == 1e-1
    weights = "checkpoint/model.safetensors"
    assert (chosen / weights).read_bytes() == (written / weights).read_bytes()

    # the trial is the study's run, under another name and with a time of its own
    stamp = folders[1] / "checkpoint/.snakemake_timestamp"
    stamp.touch()
    own = tmp_path / "runs/m.own.ls0.s0"
    run(
        monkeypatch,
        adopt_trial,
        run="m.own.ls0.s0",
        choice=choice,
        manifests=[folder / "manifest.json" for folder in folders],
        manifest=own / "manifest.json",
        checkpoint=own / "checkpoint",
        loss_log=own / "loss.jsonl",
        usage=own / "usage.json",
    )
    manifest = json.loads((own / "manifest.json").read_text())
    trial = json.loads((folders[1] / "manifest.json").read_text())
    assert manifest == trial | {"run": "m.own.ls0.s0", "trial": "m.own.lr0.1"}
    checkpoints.verified(own / "manifest.json")
    assert not (own / "checkpoint" / stamp.name).exists()
    assert (own / weights).stat().st_ino == (folders[1] / weights).stat().st_ino
    assert (own / "loss.jsonl").read_bytes() == (folders[1] / "loss.jsonl").read_bytes()


def test_a_choice_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.folder(tmp_path / "base")
    conversations.write(tmp_path / "data.jsonl", tiny.pairs())
    (tmp_path / "choice.json").write_text("[]")
    with pytest.raises(InputError, match="not the choice of a learning rate"):
        train(monkeypatch, tmp_path, "r", None, learning_rate=tmp_path / "choice.json")
    with pytest.raises(InputError, match="learning_rate"):
        train(monkeypatch, tmp_path, "r", None)
    out = tmp_path / "own"
    with pytest.raises(InputError, match="not the choice of a learning rate"):
        run(
            monkeypatch,
            adopt_trial,
            run="own",
            choice=tmp_path / "choice.json",
            manifests=[tmp_path / "base/manifest.json"],
            manifest=out / "manifest.json",
            checkpoint=out / "checkpoint",
            loss_log=out / "loss.jsonl",
            usage=out / "usage.json",
        )
    assert not out.exists()


def test_a_retry_counts_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    first = Clock(tmp_path / "scratch", now)
    now = 130.0
    first.save()
    now = 150.0  # lost
    second = Clock(tmp_path / "scratch", now)
    now = 160.0
    second.write(tmp_path / "usage.json", processes=2)
    found = usage.read(tmp_path / "usage.json")
    assert found["seconds"] == 40.0
    assert found["gpu_seconds"] == (80.0 if torch.cuda.is_available() else 0.0)
    usage.write_sum(tmp_path / "sum.json", [tmp_path / "usage.json"] * 2)
    assert usage.read(tmp_path / "sum.json")["seconds"] == 80.0
    assert usage.read(tmp_path / "sum.json")["machines"] == found["machines"]
    (tmp_path / "scratch/seconds").write_text("")  # a crash of the machine
    assert Clock(tmp_path / "scratch", now).seconds == 0.0
