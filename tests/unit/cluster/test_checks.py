"""doctor.py: the program and its exit codes; checks of this machine and of the folder."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import doctor
from multical.cluster import checks, profile
from multical.cluster import slurm as preflight_slurm
from multical.cluster.checks import Finding
from multical.workflow.drivers import started
from support import checkout, fake_slurm
from support.checkout import REPO
from support.doctor_house import SMOKE, edit_config, finding, findings
from support.fake_slurm import Slurm


def code(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of the program."""
    monkeypatch.setattr(sys, "argv", ["doctor.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        doctor.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_all_is_well_and_the_exit_code_is_the_worst_level(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULTICAL_GPUS", "none")  # whatever torch is built for
    for real in (doctor.LOCK, profile.FILE):
        shutil.copy(REPO / real, real)
    assert code(monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ok       slurm: slurm-wlm 22.05.8, Slurmctld(primary) at head is UP" in lines
    assert all(line.startswith("ok ") for line in lines)
    slurm.edit(fake_slurm.SHOW_CONFIG, "accounting_storage/slurmdbd", "accounting_storage/none")
    assert code(monkeypatch) == 1
    assert "\nwarning  sacct: no accounting storage -> none needed" in capsys.readouterr().out
    monkeypatch.setenv("MULTICAL_PARTITIONS", "gone")
    assert code(monkeypatch) == 2
    told = capsys.readouterr().out
    assert "\nerror    partitions: no partition gone; the cluster has cpu, gpu -> set MULTI" in told
    assert "\nwarning  sacct" in told


def test_it_is_a_program_and_quick_without_slurm(slurm: Slurm, tmp_path: Path) -> None:
    bare = fake_slurm.bare(tmp_path / "bare")
    environ = {**os.environ, "PATH": str(bare), "MULTICAL_GPUS": "none"}
    command = [sys.executable, str(REPO / "tools/doctor.py")]
    before = os.times()
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "warning  slurm: no SLURM here: --profile slurm cannot submit; local runs" in run.stdout
    assert not any(word in run.stdout for word in ("partition", "sacct", "squeue", "error"))
    after = os.times()
    spent = after.children_user + after.children_system
    assert spent - before.children_user - before.children_system < 5
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "0 all ok, 1 warnings, 2 errors" in told


def test_a_check_that_fails_hides_no_other(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Iterator[Finding]:
        yield Finding("ok", "first", "said before")
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(preflight_slurm, "polling", broken)
    assert finding("first").level == "ok"
    line = finding("squeue")
    assert (line.level, line.message) == ("error", "not checked (RuntimeError: two lines)")
    assert finding("partition gpu").level == "ok"


def test_files_that_cannot_be_read(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTICAL_GPUS", "two")
    assert "MULTICAL_GPUS: gpus: found 'two'" in finding("site").message
    assert findings("partition gpu") == []
    monkeypatch.setenv("MULTICAL_GPUS", "none")
    Path("slurm/profile.yaml").write_text("a: [")
    assert "slurm/profile.yaml: not a profile" in finding("profile").message
    Path("config.yaml").unlink()
    assert finding("config", SMOKE).message.startswith("config.yaml: not readable")
    edit_config({"models": {}})
    assert finding("config", SMOKE).level == "error"


def test_a_study_that_is_not_there(slurm: Slurm) -> None:
    line = finding("study", "results/nope")
    assert line.level == "error"
    assert "results/demo" in line.remedy


def test_libraries_against_the_lock(slurm: Slurm) -> None:
    lock = Path("envs/requirements.lock")
    assert finding("libraries").message == "1 as in envs/requirements.lock"
    lock.write_text("# nothing\nno-such-library==1.0\nnumpy==0.1\nsnakemake==9.27.1\n")
    missing, other = findings("libraries")
    assert (missing.level, missing.message) == ("error", "not installed: no-such-library")
    assert other.level == "warning"
    assert "for 0.1" in other.message
    assert {missing.remedy, other.remedy} == {"make env"}


def test_another_folder(slurm: Slurm) -> None:
    Path("envs/requirements.lock").unlink()
    assert "envs/requirements.lock: not here" in finding("libraries").message


def test_plugins_must_import(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "snakemake_executor_plugin_slurm"
    assert [x.level for x in findings("plugin")] == ["ok", "ok"]
    monkeypatch.setitem(sys.modules, f"{name}_jobstep", None)
    assert finding("plugin").remedy == "make env"
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(Path.cwd())
    Path(f"{name}.py").write_text("open('/no/such/file')")
    assert "FileNotFoundError" in finding("plugin").message


@pytest.mark.parametrize(
    ("built", "gpus", "level"),
    [
        ("cuda = None", "gpus", "warning"),
        ("cuda = None", "none", "ok"),
        ("cuda = '12.8'", "gres:a100", "ok"),
        ("cuda = None; hip = '6.4'", "gpus", "ok"),
    ],
)
def test_torch_for_the_gpus_asked_for(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch, built: str, gpus: str, level: str
) -> None:
    Path("torch").mkdir()
    Path("torch/version.py").write_text(f"__version__ = '2.13.0'; {built}\n")
    Path("torch-2.13.0.dist-info").mkdir()
    Path("torch-2.13.0.dist-info/METADATA").write_text("Name: torch\nVersion: 2.13.0\n")
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.setenv("MULTICAL_GPUS", gpus)
    line = finding("torch")
    assert line.level == level


def test_a_driver_that_was_killed(slurm: Slurm) -> None:
    assert finding("driver").level == "ok"
    locks = Path(".snakemake/locks")
    locks.mkdir(parents=True)
    assert finding("driver").level == "ok"
    (locks / "0.output.lock").write_text("results/x\n")
    assert finding("driver").remedy == "make recover"
    drivers = Path(".snakemake/drivers")
    drivers.mkdir()
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    record = {"host": socket.gethostname(), "pid": gone.pid, "started": "1"}
    record |= {"command": ["snakemake"], "products": {}}
    (drivers / "a.json").write_text(json.dumps(record))
    assert f"Snakemake {gone.pid} on {socket.gethostname()} was killed" in finding("driver").message
    (drivers / "a.json").write_text(json.dumps({**record, "host": "login9"}))
    assert finding("driver").remedy == "make doctor on login9"


def test_a_driver_at_work(slurm: Slurm) -> None:
    me = psutil.Process()
    record = {"host": socket.gethostname(), "pid": me.pid, "started": started(me)}
    record |= {"command": ["snakemake"], "products": {}}
    Path(".snakemake/drivers").mkdir(parents=True)
    Path(".snakemake/drivers/a.json").write_text(json.dumps(record))
    line = finding("driver")
    assert (line.level, "runs here" in line.message) == ("ok", True)


@pytest.mark.parametrize("name", ["profiles/default", "default"])
def test_a_profile_that_overrides_ours(slurm: Slurm, name: str) -> None:
    assert findings("profile") == []
    Path(name).mkdir(parents=True)
    assert name in finding("profile").message


def gigabytes(line: Finding) -> float:
    """What a study still needs."""
    return float(line.message.split("needs ")[1].split(" GB")[0])


def test_disk(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, 10**12))
    line = finding("disk", SMOKE)
    assert line.level == "ok"
    needed = gigabytes(line)
    assert 3 < needed < 30
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, 10**9))
    line = finding("disk", SMOKE)
    assert line.level == "error"
    assert "1.0 GB free" in line.message
    there = Path(SMOKE, "runs/gemma3-270m.facts.ls0.1.s0/weights")
    there.parent.mkdir(parents=True)
    with open(there, "wb") as stream:
        stream.truncate(10**9)  # a hole: no byte of it is written
    less = finding("disk", SMOKE)
    assert gigabytes(less) == pytest.approx(needed - 1, abs=0.11)
    with open(there, "wb") as stream:
        stream.truncate(10**12)  # more than all checkpoints: the models still need room
    raw = checkout.config(Path())
    models = raw["studies"][SMOKE]["models"]
    weights = sum(raw["models"][name]["parameters"] for name in models) * 4 / 1e9
    assert gigabytes(finding("disk", SMOKE)) == pytest.approx(weights, abs=0.2)


def test_disk_of_study_2(slurm: Slurm) -> None:
    """What is fetched is no longer needed."""
    root = "results/demo/msp"
    needed = gigabytes(finding("disk", root))
    assert 0.5 < needed < 1
    there = Path("results/inputs/models/smollm2-135m-instruct/weights")
    there.parent.mkdir(parents=True)
    with open(there, "wb") as stream:
        stream.truncate(10**9)
    assert gigabytes(finding("disk", root)) < 0.1


def test_disk_that_trainings_need_for_a_time(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of Gemma 3 has 6.4 GB of scratch: weights and two moments, twice, float32."""
    edit_config({f"studies:{SMOKE}:training:save_every": 1})
    usage = namedtuple("usage", "total used free")
    free = {"now": 10**12}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, free["now"]))
    line = finding("disk", SMOKE)
    assert line.level == "ok"
    assert line.message.endswith("during training 6.4 GB a run, 19.3 GB for all at once")
    stays = gigabytes(line)
    free["now"] = int((stays + 13) * 1e9)
    line = finding("disk", SMOKE)
    assert (line.level, line.remedy[-8:]) == ("warning", "--jobs 2")
    free["now"] = int((stays + 6) * 1e9)
    assert finding("disk", SMOKE).level == "error"
    edit_config({f"studies:{SMOKE}:training:save_every": 1, "keep_checkpoints": False})
    assert gigabytes(finding("disk", SMOKE)) < stays


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"xyz")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert checks._bytes([tmp_path]) == 3


def test_a_study_whose_size_is_not_known(slurm: Slurm) -> None:
    raw = checkout.config(Path())["models"]["gemma3-270m"]
    edit_config({"models:gemma3-270m": {**raw, "parameters": None}})
    lines = findings("disk", SMOKE)
    assert lines[0].level == "error"
    assert "models.gemma3-270m.parameters" in lines[0].message


def test_file_systems(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings("file system") == []
    monkeypatch.setattr(checks, "LOCAL_FOLDERS", [str(Path.cwd().parent)])
    assert "a folder of one machine" in finding("file system").message
    monkeypatch.setattr(checks, "LOCAL_FOLDERS", [])
    mount = namedtuple("mount", "mountpoint fstype")
    mounts = [mount("/", "ext4"), mount(str(Path.cwd().parent), "tmpfs")]
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: mounts)
    assert "in memory" in finding("file system").message
    mounts.append(mount(str(Path.cwd()), "nfs4"))
    assert findings("file system") == []
    counts = namedtuple("counts", "f_files f_favail")
    monkeypatch.setattr(os, "statvfs", lambda _: counts(10**6, 12))
    assert finding("file system").message.startswith("room for 12 more files")
    monkeypatch.setattr(os, "statvfs", lambda _: counts(0, 0))  # btrfs: not counted
    assert findings("file system") == []
