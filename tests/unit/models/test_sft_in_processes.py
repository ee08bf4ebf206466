"""SFT in two processes against one with accumulation: plain, sharded, padding-free, resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from accelerate.commands import launch as accelerate_launch
from safetensors.torch import load_file

import train_sft
from multical.data import conversations
from multical.errors import InputError
from multical.models import checkpoints, distributed, sft
from multical.models.chat import Chat
from multical.models.params import TrainingJob
from multical.params import parse
from support import fork_client, forks, programs, tiny
from support import sft_in_processes as alone

#: Two epochs of ten conversations, four a step: the third step of an epoch has two, so that
#: of two processes the second gets fillers only
PARAMS = {**programs.TRAINING, "epochs": 2.0, "steps": None}
Case = tuple[str, float, str, dict[str, Any]]
CASES: dict[str, Case] = {
    **{
        f"{kind} {b} {sharding}": (kind, b, sharding, {})
        for kind, b, sharding in [
            ("llama", 0.0, "none"), ("llama", 0.1, "none"), ("gemma2", 0.1, "none"),
            ("llama", 0.0, "fsdp"), ("llama", 0.1, "fsdp"), ("tied", 0.1, "fsdp"),
            ("biased", 0.1, "fsdp"), ("gemma2", 0.1, "fsdp"),
        ]
    },
    "padding-free": ("gemma2", 0.1, "fsdp", {"padding_free": True}),
    "checkpointed": ("gemma2", 0.1, "fsdp", {"activation_checkpointing": True}),
    "bfloat16": ("tied", 0.1, "fsdp", {"precision": "bfloat16"}),
    "summed": ("llama", 0.1, "none", {}),
    "summed fsdp": ("gemma2", 0.1, "fsdp", {}),
}  # fmt: skip
#: Parameters of cases, in two processes and in one
OF_CASES = {
    name: {"loss_reduction": "sum", "max_grad_norm": 0.5} for name in CASES if "sum" in name
}
#: Of these the checkpoint after three steps is gone on from, too
AGAIN = ["gemma2 0.1 none", "gemma2 0.1 fsdp", "bfloat16"]


def launch(sharding: str, file: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program in two processes of `accelerate launch`, each a fork; `file` tells it so."""
    file.write_text(yaml.safe_dump(distributed.accelerate_config(2, sharding, "float32")))
    paths = [str(Path(train_sft.__file__).parent), str(Path(__file__).parents[2])]
    launcher = [accelerate_launch.__file__, "--config_file", file]
    client = ["--no_python", sys.executable, "-ISE", fork_client.__file__]
    return forks.run(
        [*launcher, *client, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what two processes made of all cases, one after the other."""
    folder = tmp_path_factory.mktemp("two")
    for kind in {kind for kind, *_ in CASES.values()}:
        tiny.folder(folder / f"base.{kind}", kind)
    cases: list[dict[str, Any]] = [
        {
            "name": name,
            "kind": kind,
            "params": {
                **PARAMS,
                **OF_CASES.get(name, {}),
                "smoothing": b,
                "scale": {"processes": 2, "sharding": sharding, **more},
            },
        }
        for name, (kind, b, sharding, more) in CASES.items()
    ]
    cases += [{**case, "again": True} for case in cases if case["name"] in AGAIN]
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [alone.__file__, str(folder / "cases.json"), str(folder)]
    done = launch("fsdp", folder / "accelerate.yaml", *command)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in each of the two processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def log(folder: Path, name: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def once(name: str, folder: Path) -> str:
    """The run in one process that a case must equal; cases that differ in their scale share it.

    It has padded batches and keeps its activations, in the precision of the case.
    """
    kind, b, _, more = CASES[name]
    precision, own = more.get("precision", "float32"), OF_CASES.get(name, {})
    run = " ".join(["one", kind, str(b), precision, *own])
    if not (folder / f"{run}.jsonl").exists():
        params = {**PARAMS, **own, "smoothing": b, "scale": {"precision": precision}}
        alone.run(run, kind, params, folder)
    return run


@pytest.mark.parametrize("name", CASES)
def test_losses_and_weights_of_two_are_those_of_one(name: str, two: Path) -> None:
    one = once(name, two)
    found, expected = log(two, name), log(two, one)
    rough = "precision" in CASES[name][3]
    assert len(expected) == 6
    assert [step["learning_rate"] for step in found] == [step["learning_rate"] for step in expected]
    for key in ("loss", "grad_norm"):
        near = {"loss": 2e-2, "grad_norm": 0.1}[key] if rough else 1e-5
        assert [step[key] for step in found] == pytest.approx(
            [step[key] for step in expected], rel=near
        )
    assert expected[0]["loss"] - expected[-1]["loss"] > 0.5
    after, wanted = (load_file(two / run / "model.safetensors") for run in (name, one))
    assert {key: (w.shape, w.dtype) for key, w in after.items()} == {
        key: (w.shape, w.dtype) for key, w in wanted.items()
    }
    # a key's bias has no gradient but rounding, which AdamW makes as large as any
    for key in () if rough else [key for key in wanted if not key.endswith("k_proj.bias")]:
        torch.testing.assert_close(after[key], wanted[key], rtol=0, atol=1e-5)


def test_fillers_count_for_nothing_but_one_token(two: Path) -> None:
    name = "llama 0.1 none"
    seen = [log(two, run)[-1]["num_input_tokens_seen"] for run in (name, once(name, two))]
    assert seen[0] - seen[1] == 2 * 2  # two epochs of twelve rows


def test_the_losses_depend_on_what_the_cases_change(two: Path) -> None:
    """So that agreement above says something."""
    last = {name: log(two, name)[-1]["loss"] for name in CASES}
    assert abs(last["llama 0.1 fsdp"] - last["llama 0.0 fsdp"]) > 0.01
    assert 0 < abs(last["bfloat16"] - last["tied 0.1 fsdp"]) < 0.1


@pytest.mark.parametrize("name", [name for name in CASES if " 0.0 " not in name])
def test_the_smoothing_term_finds_a_whole_head_and_nothing_else_whole(name: str, two: Path) -> None:
    """So it gathers nothing: FSDP has the head's weight whole for the loss anyway."""
    whole = json.loads((two / f"{name}.whole.json").read_text())
    sharded = CASES[name][2] == "fsdp"
    assert whole == [[True, not sharded, not sharded]] * 6


@pytest.mark.parametrize("name", AGAIN)
def test_resumed_in_two_is_the_same(name: str, two: Path) -> None:
    assert log(two, f"{name} again") == log(two, name)
    again, whole = (load_file(two / run / "model.safetensors") for run in (f"{name} again", name))
    assert all(torch.equal(again[key], whole[key]) for key in whole)


def test_padding_free_in_one_process(tmp_path: Path) -> None:
    """Sliding windows and no window: attention crosses no conversation, positions restart."""
    for kind in ("gemma3", "llama"):
        tiny.folder(tmp_path / f"base.{kind}", kind)
        alone.run(f"{kind} padded", kind, PARAMS, tmp_path)
        alone.run(f"{kind} free", kind, {**PARAMS, "scale": {"padding_free": True}}, tmp_path)
        free, padded = log(tmp_path, f"{kind} free"), log(tmp_path, f"{kind} padded")
        for key in ("loss", "grad_norm", "num_input_tokens_seen"):
            expected = pytest.approx([step[key] for step in padded], rel=1e-5)
            assert [step[key] for step in free] == expected


# The program, from the command line


@pytest.fixture
def base(tmp_path: Path) -> Path:
    conversations.write(tmp_path / "data.jsonl", tiny.pairs())
    tiny.folder(tmp_path / "base", "tied")
    return tmp_path


LONG = {"scale": {"processes": 2}, "steps": 40, "save_every": 10}


def start(base: Path) -> subprocess.Popen[str]:
    """The program, in a fork that becomes the launcher and so needs no libraries of its own.

    The processes that it starts are no forks: they end when their parent does.
    """
    return subprocess.Popen(
        [sys.executable, "-ISE", fork_client.__file__, *programs.command(base, "killed", **LONG)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def workers(base: Path) -> list[int]:
    """Processes that train on the data of `base`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = file.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(base / "data.jsonl").encode() in said and b"-u" in said:
            found.append(int(file.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("victim", ["launcher", "worker"])
def test_a_killed_process_ends_all_and_the_run_goes_on(base: Path, victim: str) -> None:
    process = start(base)
    deadline = time.monotonic() + 300
    while not list(base.glob("killed.scratch-*/checkpoint-*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = workers(base)
    assert len(children) == 2
    launcher = psutil.Process(children[1]).ppid()
    os.kill(launcher if victim == "launcher" else children[1], signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode != 0
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert workers(base) == []
    assert not (base / "killed").exists()
    if victim == "launcher":
        return
    again = launch("none", base / "killed.scratch.yaml", *programs.command(base, "killed", **LONG))
    assert again.returncode == 0, again.stderr[-2000:]
    assert again.stderr.count("goes on from checkpoint-") == 1
    assert not list(base.glob("killed.scratch*"))
    checkpoints.verified(base / "killed" / "manifest.json")
    losses = [step["loss"] for step in programs.read_log(base / "killed")]
    # the same as one process, which was not interrupted
    examples = sft.Examples.of(tiny.pairs(), Chat(tiny.tokenizer(), "plain"), 64, "")
    settings = TrainingJob(**{**programs.TRAINING, "steps": 40, "save_every": 40})
    expected, _ = sft.train(
        tiny.model("tied", len(tiny.tokenizer())), tiny.tokenizer(), examples, settings,
        base / "one.scratch",
    )  # fmt: skip
    assert losses == pytest.approx([step["loss"] for step in expected], rel=1e-4)


def test_a_wrong_run_ends_all_with_one_sentence(base: Path) -> None:
    command = programs.command(base, "bad", scale={"processes": 2}, max_length=8)
    done = launch("none", base / "bad.scratch.yaml", *command)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert "data.jsonl: no token to train in 10 conversations" in done.stderr
    assert sorted(path.name for path in base.iterdir()) == ["base", "data.jsonl"]


BAD = {
    "processes that do not divide": (
        {"processes": 3},
        "expected processes to divide gradient_accumulation_steps",
    ),
    "sharding of one": ({"sharding": "fsdp"}, "1 process, expected at least 2"),
    "precision": ({"precision": "float16"}, "scale.precision"),
    "unknown key": ({"gpus": 2}, r"scale: unknown keys \['gpus'\]"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_scales(name: str) -> None:
    scale, message = BAD[name]
    with pytest.raises(InputError, match=message):
        parse(TrainingJob, json.dumps({**PARAMS, "scale": scale}))


@pytest.mark.parametrize(
    ("gpus", "sharding", "found"),
    [(1, "none", "1 GPUs here, .* or none at all"), (0, "fsdp", "0 GPUs"), (3, "fsdp", "3 GPUs")],
)
def test_too_few_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int, sharding: str, found: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    config = distributed.accelerate_config(processes=4, sharding=sharding, precision="bfloat16")
    with pytest.raises(InputError, match=f"processes: 4, but {found}"):
        distributed.launch(config, tmp_path / "accelerate.yaml")
    assert not list(tmp_path.iterdir())


def test_what_accelerate_is_told() -> None:
    plain = distributed.accelerate_config(processes=2, sharding="none", precision="bfloat16")
    assert (plain["mixed_precision"], plain["num_processes"]) == ("bf16", 2)
    assert "fsdp_config" not in plain
    sharded = distributed.accelerate_config(**sft.Scale(processes=8, sharding="fsdp").model_dump())
    assert (sharded["distributed_type"], sharded["num_processes"]) == ("FSDP", 8)
    assert sharded["mixed_precision"] == "no"
    assert sharded["fsdp_config"]["fsdp_version"] == 2
