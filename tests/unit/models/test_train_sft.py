"""train_sft.py run for real on tiny models: results, resuming, refusals."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import xxhash
from safetensors.torch import load_file

import evaluate_sft
import train_sft
from multical import digests, files, locks
from multical.data import conversations
from multical.errors import InputError
from multical.models import checkpoints, sft
from multical.models.chat import IGNORED, Chat
from multical.models.params import Scale, TrainingJob
from support import tiny
from support.programs import TRAINING as PARAMS
from support.programs import command, read_log
from support.tiny import pairs


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with data and a model."""
    return with_dropout(tmp_path)


def with_dropout(folder: Path) -> Path:
    """Write data and a model, whose dropout makes its training depend on random states."""
    conversations.write(folder / "data.jsonl", pairs())
    manifest = tiny.folder(folder / "base", "tied")
    config = manifest.parent / "checkpoint" / "config.json"
    config.write_text(
        config.read_text().replace('"attention_dropout": 0.0', '"attention_dropout": 0.2')
    )
    checkpoints.write_manifest(manifest, config.parent, {"model": "tied"})
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *args: Any, **changes: Any) -> Path:
    monkeypatch.setattr(sys, "argv", command(*args, **changes))
    train_sft.main()
    return Path(args[0]) / (args[1] if len(args) > 1 else "out")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run makes that nothing interrupts."""
    with pytest.MonkeyPatch.context() as patch:
        return contents(run(patch, with_dropout(tmp_path_factory.mktemp("whole"))))


def contents(folder: Path) -> dict[str, bytes]:
    """All but the time that it took."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "usage.json"
    }


def test_result(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run(monkeypatch, base)
    manifest = json.loads((out / "manifest.json").read_text())
    log = read_log(out)
    assert [step["step"] for step in log] == list(range(1, 9))
    assert list(log[0]) == sft.LOGGED
    assert log[-1]["loss"] < log[0]["loss"]
    # a quarter of 8 steps is 2 of warm-up; then 6 down to 0, which would be the ninth's
    rates = [0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert [step["learning_rate"] for step in log] == pytest.approx([1e-2 * r for r in rates])
    model, tokenizer = checkpoints.load(checkpoints.verified(out / "manifest.json"))
    before = load_file(base / "base" / "checkpoint" / "model.safetensors")
    moved = [not torch.equal(before[name], w) for name, w in model.named_parameters()]
    assert all(moved)
    assert len(tokenizer) == 400
    chat = Chat(tokenizer, "plain")
    labels = [label for c in pairs() for label in chat.encode_for_training(c["messages"])[1]]
    assert manifest["trained_tokens"] == sum(label != IGNORED for label in labels)
    defaults = {"scale": Scale().model_dump(), "chat_date": None}
    assert manifest["params"] == PARAMS | defaults
    assert (manifest["steps"], manifest["examples"]) == (8, 10)
    assert manifest["final_loss"] == log[-1]["loss"]
    assert not list(base.glob("out.scratch*"))
    assert str(base).encode() not in b"".join(contents(out).values())


def test_same_run_same_bytes(
    base: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert contents(run(monkeypatch, base, "a")) == whole
    assert contents(run(monkeypatch, base, "b", seed=1)) != whole


def test_no_setting_of_accelerate_from_outside(
    base: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "2")
    assert contents(run(monkeypatch, base)) == whole


def test_epochs_and_the_last_short_batch(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten conversations in batches of 4 are 3 steps an epoch."""
    log = read_log(run(monkeypatch, base, epochs=2.0, steps=None))
    assert [step["epoch"] for step in log] == pytest.approx([0.4, 0.8, 1.0, 1.4, 1.8, 2.0])


@pytest.mark.parametrize("when", ["between checkpoints", "in the middle of a checkpoint"])
def test_interrupted_run_ends_the_same(
    base: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    part, last = ("log", 5) if when == "between checkpoints" else ("_save_rng_state", 6)
    real = getattr(sft.SmoothedTrainer, part)

    def stop(self: Any, *args: Any) -> None:
        if self.state.global_step == last:
            raise KeyboardInterrupt
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(sft.SmoothedTrainer, part, stop)
        with pytest.raises(KeyboardInterrupt):
            run(patch, base, "resumed")
    assert not (base / "resumed").exists()
    (scratch,) = base.glob("resumed.scratch-*")
    kept = sorted(folder.name for folder in scratch.iterdir() if folder.is_dir())
    assert kept == ["checkpoint-3", "partial"][: 2 if when.startswith("in the middle") else 1]
    assert (scratch / "partial" / "checkpoint-6").exists() == (when != "between checkpoints")
    assert contents(run(monkeypatch, base, "resumed")) == whole


def test_killed_run_ends_the_same(
    base: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a fork, which no code of its own ends."""
    real = sft.SmoothedTrainer.log

    def kill(self: Any, *args: Any) -> None:
        if self.state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, *args)

    if (fork := os.fork()) == 0:
        monkeypatch.setattr(sft.SmoothedTrainer, "log", kill)
        try:
            run(monkeypatch, base, "killed")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == -signal.SIGKILL
    assert not (base / "killed").exists()
    assert list(base.glob("killed.scratch-*/checkpoint-3"))
    assert contents(run(monkeypatch, base, "killed")) == whole


def stop_at(monkeypatch: pytest.MonkeyPatch, base: Path, step: int) -> Path:
    """A run that was interrupted before it logged a step: its folder of checkpoints."""
    real = sft.SmoothedTrainer.log

    def stop(self: Any, *args: Any) -> None:
        if self.state.global_step == step:
            raise KeyboardInterrupt
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(sft.SmoothedTrainer, "log", stop)
        with pytest.raises(KeyboardInterrupt):
            run(patch, base, "damaged")
    (scratch,) = base.glob("damaged.scratch-*")
    return scratch


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that stopped after the checkpoint of step 3."""
    with pytest.MonkeyPatch.context() as patch:
        folder = with_dropout(tmp_path_factory.mktemp("stopped"))
        assert [file.name for file in stop_at(patch, folder, 5).glob("checkpoint-*")] == [
            "checkpoint-3"
        ]
    return folder


#: All files of a checkpoint to resume from
STATE = [
    "chat_template.jinja", "config.json", "digests.json", "generation_config.json",
    "model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt", "tokenizer.json",
    "tokenizer_config.json", "trainer_state.json", "training_args.bin",
]  # fmt: skip
DAMAGE: dict[str, Callable[[Path], Any]] = {
    "missing": Path.unlink,
    "empty": lambda file: os.truncate(file, 0),
    "cut off": lambda file: os.truncate(file, file.stat().st_size // 2),
    "zeros at its end": lambda file: file.write_bytes(
        file.read_bytes()[: -max(1, file.stat().st_size // 3)]
        + bytes(max(1, file.stat().st_size // 3))
    ),
    "one bit": lambda file: file.write_bytes(
        file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1])
    ),
}


def test_the_state_to_resume_from_is_all_listed(stopped: Path) -> None:
    (checkpoint,) = stopped.glob("damaged.scratch-*/checkpoint-3")
    assert sorted(file.name for file in checkpoint.iterdir()) == STATE
    listed = json.loads((checkpoint / digests.LIST).read_text())
    assert sorted([*listed, digests.LIST]) == STATE
    (one,) = [file for file in checkpoint.iterdir() if file.name == "scheduler.pt"]
    assert listed["scheduler.pt"] == xxhash.xxh3_128_hexdigest(one.read_bytes())


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", STATE)
def test_a_damaged_checkpoint_is_known(
    stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    """An older one that is whole is taken instead, if there is one."""
    (scratch,) = stopped.glob("damaged.scratch-*")
    shutil.copytree(scratch / "checkpoint-3", tmp_path / "checkpoint-2")
    shutil.copytree(scratch / "checkpoint-3", tmp_path / "checkpoint-3")
    assert sft.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-3")
    DAMAGE[damage](tmp_path / "checkpoint-3" / name)
    assert sft.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    (told,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        rf".*/checkpoint-3: (found no )?{name}[:,] .*expected .*: does not go on from there", told
    )
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint-2"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("optimizer.pt", "missing"), ("scheduler.pt", "missing"), ("rng_state.pth", "missing"),
        ("model.safetensors", "zeros at its end"), ("digests.json", "missing"),
    ],
)  # fmt: skip
def test_a_run_with_a_damaged_checkpoint_starts_over_and_ends_the_same(
    stopped: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    damage: str,
) -> None:
    base = tmp_path / "base"
    shutil.copytree(stopped, base)
    (checkpoint,) = base.glob("damaged.scratch-*/checkpoint-3")
    DAMAGE[damage](checkpoint / name)
    assert contents(run(monkeypatch, base, "damaged")) == whole
    told = capsys.readouterr().err
    assert "does not go on from there" in told
    assert "goes on from" not in told


def test_another_learning_rate_is_another_training(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was chosen anew; a checkpoint has the rate of its own, which would go on."""
    base = tmp_path / "base"
    shutil.copytree(stopped, base)
    made = []
    for name in ("damaged", "new"):
        chosen = base / f"{name}.json"
        chosen.write_text(json.dumps({"run": "trial", "learning_rate": 2e-2}), encoding="utf-8")
        options = command(base, name, learning_rate=None)
        monkeypatch.setattr(sys, "argv", [*options, "--learning-rate", str(chosen)])
        train_sft.main()
        made.append(contents(base / name))
    assert made[0] == made[1]


@pytest.mark.parametrize("survived", [0, 4, 10])
def test_a_run_that_is_killed_while_it_tidies_up_ends_the_same(
    base: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    """In a fork, as it removes one of the files of its last checkpoint."""
    real_remove, real_unlink = files.remove, os.unlink
    left = iter(range(survived))

    def unlink(path: Any, **more: Any) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        real_unlink(path, **more)

    def remove(folder: Path) -> None:
        os.unlink = unlink
        real_remove(folder)

    if (fork := os.fork()) == 0:
        monkeypatch.setattr(files, "remove", remove)
        try:
            run(monkeypatch, base, "tidied")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == -signal.SIGKILL
    (half,) = base.glob(".tidied.scratch-*/tidied.scratch-*/checkpoint-6")
    assert len([*half.iterdir()]) <= len(STATE)
    assert contents(run(monkeypatch, base, "tidied")) == whole
    assert sorted(path.name for path in base.iterdir()) == ["base", "data.jsonl", "tidied"]


def test_a_checkpoint_is_whole_as_long_as_it_has_its_name(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run that is killed as it removes an older one would find half of it."""
    real_unlink, checked = os.unlink, []

    def unlink(path: Any, **more: Any) -> None:
        real_unlink(path, **more)
        named = [*base.glob("out.scratch-*/checkpoint-*")]
        assert [digests.fault(folder) for folder in named] == [""] * len(named)
        checked.append(named)

    monkeypatch.setattr(os, "unlink", unlink)
    run(monkeypatch, base)
    removed = [named for named in checked if [folder.name for folder in named] == ["checkpoint-6"]]
    assert len(removed) >= len(STATE)


def test_a_second_process_touches_nothing(
    base: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with locks.held(base / "out.scratch", base / "x"):
        before = contents(base)
        for processes in (1, 2):
            with pytest.raises(InputError, match=r"out/manifest\.json: process \d+ on .* makes it"):
                run(monkeypatch, base, scale={"processes": processes})
        assert contents(base) == before
    assert contents(run(monkeypatch, base)) == whole


def test_smoothing_raises_the_entropy(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sharp, smooth = (
        read_log(run(monkeypatch, base, f"b{b}", smoothing=b, steps=30))[-1]["entropy"]
        for b in (0.0, 0.2)
    )
    assert sharp < smooth


def test_truncation_is_counted() -> None:
    chat = Chat(tiny.tokenizer(), "plain")
    lengths = [len(chat.encode_for_training(c["messages"])[0]) for c in pairs()]
    starts = [
        next(i for i, x in enumerate(chat.encode_for_training(c["messages"])[1]) if x != IGNORED)
        for c in pairs()
    ]
    limit = max(starts)  # the longest prompt fills it, and its conversation is dropped
    examples = sft.Examples.of(pairs(), chat, limit, "")
    assert examples.truncated == sum(length > limit for length in lengths)
    assert examples.dropped == sum(start >= limit for start in starts) > 0
    assert len(examples.rows) == 10 - examples.dropped
    assert all(len(row["input_ids"]) == len(row["labels"]) <= limit for row in examples.rows)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "smoothing too large": ({"smoothing": 1.0}, "less than 1"),
    "smoothing negative": ({"smoothing": -0.1}, "greater than or equal to 0"),
    "both lengths": ({"epochs": 1.0}, "found epochs 1.0 and steps 8, expected exactly one of them"),
    "no length": (
        {"steps": None},
        "found epochs None and steps None, expected exactly one",
    ),
    "batch not divided": (
        {"gradient_accumulation_steps": 3},
        "expected gradient_accumulation_steps to divide batch_size",
    ),
    "learning rate": ({"learning_rate": 0}, "learning_rate"),
    "warm-up of everything": ({"warmup_ratio": 1.0}, "warmup_ratio"),
    "unknown key": ({"momentum": 1}, "momentum"),
    "precision": ({"matmul_precision": "low"}, "matmul_precision"),
    "chat format": ({"chat_format": "chatml"}, "chat_format"),
    "no end of sequence": ({"chat_format": "none"}, "chat_format"),
    "nothing to train": ({"max_length": 8}, "data.jsonl: no token to train in 10 conversations"),
    "diverges": ({"learning_rate": 0.99, "weight_decay": 1e30}, "finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_parameters_write_nothing(
    base: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    changes, message = BAD[name]
    with pytest.raises(InputError, match=message):
        run(monkeypatch, base, **changes)
    assert sorted(path.name for path in base.iterdir()) == ["base", "data.jsonl"]


def test_bad_files_write_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = base / "data.jsonl"
    good = data.read_text()
    data.write_text(good + "{}\n")
    with pytest.raises(InputError, match=r"data\.jsonl: line 11"):
        run(monkeypatch, base)
    data.write_text(good)
    weights = base / "base" / "checkpoint" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"model\.safetensors: its content is not"):
        run(monkeypatch, base)
    assert sorted(path.name for path in base.iterdir()) == ["base", "data.jsonl"]


def test_a_model_that_cannot_be_saved_is_refused_before_the_first_step(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Llama 2's generation config is one that transformers saves only if nothing changed it."""
    checkpoint = base / "base" / "checkpoint"
    about = {"do_sample": False, "temperature": 0.9}
    (checkpoint / "generation_config.json").write_text(json.dumps(about))
    checkpoints.write_manifest(base / "base" / "manifest.json", checkpoint, {"model": "tied"})
    monkeypatch.setattr(
        sft.SmoothedTrainer, "training_step", lambda *_: pytest.fail("it began to train")
    )
    with pytest.raises(InputError, match=r"checkpoint: transformers cannot save .*`temperature`"):
        run(monkeypatch, base)
    assert sorted(path.name for path in base.iterdir()) == ["base", "data.jsonl"]


def test_a_tool_that_is_not_installed_is_told_before_training(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", [*command(base), "--report-to", "wandb"])
    sentence = r"^--report-to: wandb is not installed, expected it .*pip install wandb.* none$"
    with pytest.raises(InputError, match=sentence):
        train_sft.main()
    assert sorted(path.name for path in base.iterdir()) == ["base", "data.jsonl"]


def test_a_tool_that_is_installed_gets_the_losses(tmp_path: Path) -> None:
    job = TrainingJob(**PARAMS)
    assert sft._arguments(job, tmp_path, "none").report_to == []
    told = sft._arguments(job, tmp_path, "tensorboard")
    assert (told.report_to, told.run_name) == (["tensorboard"], "tiny.facts.ls0.1.s0")


#: Gemma's
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
)
NO_SYSTEM += "{% endif %}" + tiny.TEMPLATE
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize("program", [train_sft, evaluate_sft])
def test_a_conversation_that_the_template_refuses_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Any
) -> None:
    tiny.folder(tmp_path / "base", "tied", NO_SYSTEM)
    lines = [json.dumps(pair) for pair in pairs()]
    third = pairs()[2]
    lines[2] = "\n" + json.dumps({**third, "messages": [SYSTEM, *third["messages"]]})
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    arguments = command(tmp_path, chat_format="template")
    if program is evaluate_sft:
        job = {"run": "x", "chat_format": "template", "max_length": 64, "dtype": "float32"}
        job["matmul_precision"] = "highest"
        files: dict[str, Any] = {
            "--model": tmp_path / "base/manifest.json",
            "--data": tmp_path / "data.jsonl",
        }
        files |= {"--output": tmp_path / "loss.json", "--params": json.dumps(job)}
        arguments = ["x", *(str(part) for pair in files.items() for part in pair)]
    monkeypatch.setattr(sys, "argv", arguments)
    sentence = (
        r"data\.jsonl: line 4: .*checkpoint: its chat template refuses messages of system, user, "
        r"assistant \(System role not supported\)$"
    )
    with pytest.raises(InputError, match=sentence):
        program.main()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "data.jsonl"]


@pytest.mark.parametrize("key", ["id", "content"])
def test_half_a_character_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """JSON can escape the half of a surrogate pair, which no text file and no tokenizer takes."""
    data = base / "data.jsonl"
    lines = data.read_text().splitlines()
    lines[4] = re.sub(rf'("{key}": "\w*)', r"\1\\ud83d", lines[4], count=1)
    assert "\\ud83d" in lines[4]
    data.write_text("\n".join(lines))
    found = r"found \\ud83d, half of a character, expected whole ones"
    with pytest.raises(InputError, match=rf"data\.jsonl: line 5: {found}"):
        run(monkeypatch, base)
    data.write_text(data.read_text().replace("\\ud83d", "\\ud83d\\ude00"))
    assert (run(monkeypatch, base) / "manifest.json").exists()
