"""`make gpu`: the whole on this machine at tiny shapes, and what the pack is made of."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

import gpu
from gpu_pack import carried, fetch, rows, scoring, shapes, training
from gpu_pack.machine import CARDS, Machine
from gpu_pack.rows import Row
from multical.workflow import timings
from support import checkout, fork_client

TINY = Machine(None, True, None)
CHECKS = [name for part in gpu.PARTS.values() for name in part]


@pytest.fixture(scope="module")
def table() -> list[list[str]]:
    """The cells of all rows of a run on the processor."""
    command = [sys.executable, str(checkout.REPO / "benchmarks/gpu.py"), "--tiny"]
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no GPU: tiny shapes on" in done.stdout
    assert re.search(r"^\d+ rows, 0 failed$", done.stdout, re.M)
    lines = done.stdout.partition(rows.HEAD)[2].splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]


@pytest.mark.gpu
@pytest.mark.slow
def test_every_check_runs(table: list[list[str]]) -> None:
    assert list(dict.fromkeys(cells[0] for cells in table)) == CHECKS


@pytest.mark.gpu
@pytest.mark.slow
def test_what_cannot_run_on_a_processor_is_said(table: list[list[str]]) -> None:
    assert {cells[-1] for cells in table} == {"yes", "-", "absent"}
    absent = {(name, found.split(":")[0]) for name, _, found, _, ok in table if ok == "absent"}
    trained = [name for name in CHECKS if name.startswith("train ")]
    expected = {(name, peer) for name in trained for peer in ("liger", "cce")}
    expected.add(("train gemma-2-2b", "torch"))  # it has no soft cap
    harness = {(name, "lm-eval does not load") for name in CHECKS if name.startswith("score ")}
    assert absent - harness == expected


#: Says that it found what its arguments name; "dies" and "hangs" are what they say
WORKER = """
import json, os, sys, time
print(json.dumps({"about": "a machine"}), flush=True)
for name in sys.argv[1:]:
    print(json.dumps({"row": {"check": name, "setting": "", "found": "1"}}), flush=True)
    if name == "hangs":
        time.sleep(60)
    if name == "dies":
        print("Segmentation fault", file=sys.stderr, flush=True)
        os.abort()
    print(json.dumps({"done": name}), flush=True)
    if name == "fails":
        os._exit(3)
"""


@pytest.fixture
def worker(tmp_path: Path) -> list[str]:
    (tmp_path / "worker.py").write_text(WORKER)
    return [sys.executable, str(tmp_path / "worker.py")]


def ran(events: Iterator[Row | dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (event.check, event.found, event.ok) if isinstance(event, Row) else (*event.values(),)
        for event in events
    ]


def test_a_check_that_ends_its_process_is_a_row(worker: list[str]) -> None:
    assert ran(gpu.run(worker, ["a", "fails", "dies", "b"], time.monotonic() + 60)) == [
        ("a machine",),
        ("a", "1", "-"),
        ("fails", "1", "-"),
        ("a machine",),
        ("dies", "1", "-"),
        ("dies", "its process ended with -6: Segmentation fault", "NO"),
        ("Segmentation fault",),
        ("a machine",),
        ("b", "1", "-"),
    ]


def test_a_part_ends_in_time(worker: list[str]) -> None:
    start = time.monotonic()
    assert ran(gpu.run(worker, ["hangs", "a", "b"], start + 5))[1:] == [
        ("hangs", "1", "-"),
        ("hangs", "cut off: the time of this part is over", "no time"),
        ("",),
        ("a", "not run: the time of this part is over", "no time"),
        ("b", "not run: the time of this part is over", "no time"),
    ]
    assert time.monotonic() - start < 30


def test_a_worker_that_cannot_start_ends(worker: list[str]) -> None:
    broken = [worker[0], "-c", "import nothing_here"]
    found = ran(gpu.run(broken, ["a", "b"], time.monotonic() + 60))
    said = "its process ended with 1: ModuleNotFoundError: No module named 'nothing_here'"
    assert found[::2] == [("a", said, "NO"), ("b", said, "NO")]
    assert found[1][0].startswith("Traceback (most recent call last):")


def test_a_check_that_raises_is_a_row_and_the_next_goes_on() -> None:
    """A worker is given a name of no check: an error within the real worker, in a fork."""
    worker = [sys.executable, "-ISE", fork_client.__file__, gpu.WORKER[-1], "--tiny"]
    found = ran(gpu.run(worker, ["no_check", "matrix product"], time.monotonic() + 99))
    found = [event for event in found if not event[0].startswith("no GPU")]
    assert found[0][0].startswith("no_check: Traceback")
    said = "AttributeError: module 'gpu_pack.checks' has no attribute 'no_check'"
    assert found[1] == ("no_check", said, "NO")
    assert found[2][0] == "matrix product"


def test_only_whole_parts_are_recorded(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--record", "--only", "loss"])
    with pytest.raises(SystemExit, match="2"):
        gpu.main()
    assert "--record: takes whole parts, expected no --only beside it" in capsys.readouterr().err


def test_parts_are_recorded_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "gpu.md"
    one = {"about": "one", "card": "one", "tiny": False}
    gpu.record(file, one, {"scoring": [Row("s", "", "old")]})
    gpu.record(file, one, {"checks": [Row("c", "", "1 | 2", "", "yes")]})
    gpu.record(file, one, {"scoring": [Row("s", "", "new")]})
    text = file.read_text()
    checks = f"## checks\n\n{rows.HEAD}\n| c |  | 1 / 2 |  | yes |\n"
    assert text == f"{gpu.TITLE}one\n\n{checks}\n## scoring\n\n{rows.HEAD}\n| s |  | new |  | - |\n"
    gpu.record(file, {**one, "about": "another"}, {"checks": []})
    assert "scoring" not in file.read_text()


@pytest.mark.parametrize("machine", [{"card": None, "tiny": True}, {"card": "a", "tiny": True}, {}])
def test_tiny_shapes_are_not_recorded(tmp_path: Path, machine: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match=r"gpu\.md: not written, expected true shapes on a GPU"):
        gpu.record(tmp_path / "gpu.md", machine, {})
    assert not list(tmp_path.iterdir())


def test_a_difference_that_is_no_number_fails() -> None:
    found = [rows.within("a", "", value, 1.0, "") for value in (1.0, 1.5, float("nan"))]
    assert [row.ok for row in found] == ["yes", "NO", "NO"]
    missed = Row("a", "", "", "", "missed")
    assert rows.failures([*found, missed]) == found[1:]


def test_shapes_have_the_weights_of_the_models() -> None:
    known = yaml.safe_load((checkout.REPO / "config/models.yaml").read_text())["models"]
    true = Machine("a card", False, None)
    sizes = {name: shapes.size(shapes.config(name, true)) for name in shapes.CONFIGS}
    assert sizes == {name: known[name]["parameters"] for name in shapes.CONFIGS}
    models = {name.split(" ")[1] for name in CHECKS if name.startswith(("score ", "train "))}
    assert models == set(shapes.CONFIGS)


@pytest.mark.parametrize(
    ("card", "rate"), [("H200", 989.4e12), ("H100 PCIe", 756e12), ("L4", 121e12), ("L40S", 362e12)]
)
def test_the_peak_of_a_card(card: str, rate: float) -> None:
    assert Machine(f"NVIDIA {card}", False, None).peak == (rate, "the data sheet's peak")


@pytest.mark.parametrize("card", ["NVIDIA L40", "NVIDIA GeForce RTX 4090 Laptop GPU"])
def test_the_peak_of_an_unknown_card_is_measured(card: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(Machine, "measured", 5.0)
    assert Machine(card, False, None).peak == (5.0, "the measured rate of matrix products")


def test_a_peer_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(trainer: Any, *_: Any) -> tuple[float, float, float]:
        if isinstance(trainer.says, Exception):
            raise trainer.says
        return 2.0, 10.0, trainer.says

    says = {
        "ours": 1.0, "nll": 0.9, "trl": torch.OutOfMemoryError(), "torch": ValueError("no"),
        "liger": 1.1,
    }  # fmt: skip
    model = Namespace(zero_grad=lambda: None)
    sides = {name: Namespace(says=value, model=model) for name, value in says.items()}
    monkeypatch.setattr(training.smoothed_sft, "step", step)
    assert training.steps(sides, {}) == {
        "ours": (2.0, 10.0), "nll": (2.0, 10.0), "trl": "out of memory", "torch": "ValueError: no",
        "liger": "its loss is 1.1, ours 1",
    }  # fmt: skip
    sides["ours"].says = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        training.steps(sides, {})


@pytest.mark.parametrize(
    ("peer", "theirs", "found", "ok"),
    [
        ("nll", (1.0, 1.0), "1.030 of its time (1 s), 1.000 of its memory", "yes"),
        ("nll", (1.1, 0.9), "0.936 of its time (1.1 s), 1.111 of its memory", "missed"),
        ("trl", (1.1, 0.9), "0.936 of its time (1.1 s), 1.111 of its memory", "yes"),
        ("trl", (1.0, 2.0), "1.030 of its time (1 s), 0.500 of its memory", "missed"),
        ("trl", "out of memory", "its step: out of memory", "-"),
        ("trl", "its loss is 1.1, ours 1", "its step: its loss is 1.1, ours 1", "NO"),
        ("cce", None, "cce: not in this torch", "absent"),
    ],
)
def test_a_step_is_compared(peer: str, theirs: training.Cost | None, found: str, ok: str) -> None:
    true = Machine("a card", False, None)
    row = training.compared("train", "", peer, (1.03, 1.0), theirs, true)
    assert (row.found[: len(found)], row.ok) == (found, ok)


def test_floating_point_operations_of_a_step() -> None:
    """Those of the linear layers are torch's count; attention is causal."""
    settings = shapes.config("llama-3.1-8b", TINY)
    model: Any = shapes.model(settings, TINY, torch.float32)
    length, channels = 10, settings.num_hidden_layers * 64
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(3, length, dtype=torch.long))
    counts = counter.get_flop_counts()["Global"]
    linear = sum(count for op, count in counts.items() if "attention" not in str(op))
    attended = 4 * 3 * (length * (length + 1) // 2) * channels
    assert training.flop(model, 3, length) == 3 * (linear + attended)


def test_the_harness_is_asked_the_same() -> None:
    letters, texts = scoring.CASES[2], scoring.CASES[4]
    asked = scoring.questions(letters, 50, 1000)
    assert {tuple((one.multiple_choice or [])[:575]) for one in asked} == {
        tuple((asked[0].multiple_choice or [])[:575])
    }
    lengths = [one.length - 575 for one in asked]
    assert (min(lengths), max(lengths)) >= (58, 115)
    assert max(lengths) <= 172
    assert [r[1:] for r in scoring.requests(asked[:1])] == [
        (asked[0].multiple_choice, [letter]) for letter in range(4)
    ]
    (one,) = scoring.questions(texts, 1, 1000)
    assert [[*c, *r] for _, c, r in scoring.requests([one])] == [*map(list, one.options)]
    whole = scoring.questions(scoring.CASES[0], 3, 1000)
    assert [question.length for question in whole] == [512] * 3


def wheel(folder: Path, name: str, number: str, *files: str) -> Path:
    file = folder / f"{name}-{number}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for inner in files:
            archive.writestr(inner, "x = 1\n")
    return file


def test_wheels_stand_in_for_what_is_missing(tmp_path: Path) -> None:
    wheel(tmp_path, "nothing_here", "1.0", "nothing_here/__init__.py", "../astray.py")
    wheel(tmp_path, "numpy", "0.1", "numpy/__init__.py")
    wheel(tmp_path, "pydantic_core", version("pydantic-core"), "pydantic_core/__init__.py")
    unpacked = carried.unpack(tmp_path, tmp_path / "site")
    assert unpacked == ["nothing_here 1.0", "numpy 0.1"]
    found = sorted(file.parent.name for file in (tmp_path / "site").rglob("__init__.py"))
    assert found == ["nothing_here", "numpy"]
    assert not (tmp_path / "astray.py").exists()


def test_what_is_not_used_is_not_carried(tmp_path: Path) -> None:
    file = wheel(
        tmp_path, "a", "1", "lm_eval/tasks/__init__.py", "lm_eval/tasks/arc/arc.yaml",
        "bitsandbytes/libbitsandbytes_rocm72.so", "bitsandbytes/libbitsandbytes_cuda130.so",
    )  # fmt: skip
    fetch.without(file, fetch.UNUSED)
    with zipfile.ZipFile(file) as archive:
        left = ["lm_eval/tasks/__init__.py", "bitsandbytes/libbitsandbytes_cuda130.so"]
        assert archive.namelist() == left
        assert archive.read(left[0]) == b"x = 1\n"
    assert list(tmp_path.iterdir()) == [file]


def test_at_most_60_mb_are_carried() -> None:
    assert fetch.report(50_900_000, 9_100_000) == "50.9 MB of wheels and 9.1 MB of code"
    with pytest.raises(
        SystemExit, match=r"error: .*9\.2 MB of code, expected at most 60 MB in all"
    ):
        fetch.report(50_900_000, 9_200_000)
    assert fetch.code() < 9_000_000  # the wheels of today are 51 MB


def test_carried_versions_are_those_of_the_lock() -> None:
    def pins(file: str) -> dict[str, str]:
        text = (checkout.REPO / file).read_text()
        found = re.findall(r"^([\w.-]+)==(\S+)", text, re.M)
        return {name.lower().replace("_", "-"): number for name, number in found}

    peers = {"cut-cross-entropy", "liger-kernel", "lm-eval"}
    carried_pins, lock = (
        pins("benchmarks/gpu_pack/requirements.txt"),
        pins("envs/requirements.lock"),
    )
    assert carried_pins.keys() - lock.keys() == peers
    assert {name: lock[name] for name in carried_pins if name not in peers} == {
        name: number for name, number in carried_pins.items() if name not in peers
    }
    assert pins("benchmarks/requirements.txt")["lm-eval"] == carried_pins["lm-eval"]


@pytest.mark.parametrize("python", [".venv/bin/python", "python3"])
def test_make_takes_the_python_that_is_there(tmp_path: Path, python: str) -> None:
    (tmp_path / "Makefile").symlink_to(checkout.REPO / "Makefile")
    if "/" in python:
        (tmp_path / python).parent.mkdir(parents=True)
        (tmp_path / python).touch()
    command = ["make", "--silent", "-n", "gpu", "ARGS=--only 'train gemma-2-2b'"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout == f"{python} benchmarks/gpu.py --only 'train gemma-2-2b'\n"


def test_its_program_imports_no_torch() -> None:
    """It must live when its workers cannot import it, and start at once."""
    code = "import sys, gpu; sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    folder = checkout.REPO / "benchmarks"
    assert subprocess.run([sys.executable, "-c", code], cwd=folder, check=False).returncode == 0


def test_peaks_are_those_of_plans() -> None:
    """The pack imports no config, so it has them once more."""
    known = json.loads(CARDS.read_text(encoding="utf-8"))["peaks"]
    for card in timings.CARDS.values():
        assert known[card.name.removesuffix(" SXM")] == card.peak
