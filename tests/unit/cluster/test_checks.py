"""doctor.py: the program and its exit codes; checks of this machine and of the folder."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import doctor
from multical.cluster import checks, cluster
from multical.cluster import slurm as preflight_slurm
from multical.cluster.checks import Finding
from support import checkout, fake_slurm
from support.checkout import REPO
from support.doctor_house import SMOKE, about, edited, house, one
from support.fake_slurm import Slurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """A folder of multical on a healthy cluster."""
    return house(tmp_path, monkeypatch)


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
    for real in (doctor.LOCK, cluster.PROFILE):
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
    started = time.monotonic()
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "warning  slurm: no SLURM here: --profile slurm cannot submit; local runs" in run.stdout
    assert not any(word in run.stdout for word in ("partition", "sacct", "squeue", "error"))
    assert time.monotonic() - started < 5
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "0 all ok, 1 warnings, 2 errors" in told


def test_a_check_that_fails_hides_no_other(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Iterator[Finding]:
        yield Finding("ok", "first", "said before")
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(preflight_slurm, "polling", broken)
    assert one("first").level == "ok"
    found = one("squeue")
    assert (found.level, found.said) == ("error", "not checked (RuntimeError: two lines)")
    assert one("partition gpu").level == "ok"


def test_files_that_cannot_be_read(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTICAL_GPUS", "two")
    assert "MULTICAL_GPUS: gpus: found 'two'" in one("site").said
    assert about("partition gpu") == []
    monkeypatch.setenv("MULTICAL_GPUS", "none")
    Path("slurm/profile.yaml").write_text("a: [")
    assert "slurm/profile.yaml: not a profile" in one("profile").said
    Path("config.yaml").unlink()
    assert one("config", SMOKE).said.startswith("config.yaml: not readable")
    edited({"models": {}})
    assert one("config", SMOKE).level == "error"


def test_a_study_that_is_not_there(slurm: Slurm) -> None:
    found = one("study", "results/nope")
    assert found.level == "error"
    assert "results/demo" in found.cure


def test_libraries_against_the_lock(slurm: Slurm) -> None:
    lock = Path("envs/requirements.lock")
    assert one("libraries").said == "1 as in envs/requirements.lock"
    lock.write_text("# nothing\nno-such-library==1.0\nnumpy==0.1\nsnakemake==9.27.1\n")
    missing, other = about("libraries")
    assert (missing.level, missing.said) == ("error", "not installed: no-such-library")
    assert other.level == "warning"
    assert "for 0.1" in other.said
    assert {missing.cure, other.cure} == {"make env"}


def test_another_folder(slurm: Slurm) -> None:
    Path("envs/requirements.lock").unlink()
    assert "envs/requirements.lock: not here" in one("libraries").said


def test_plugins_must_import(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "snakemake_executor_plugin_slurm"
    assert [found.level for found in about("plugin")] == ["ok", "ok"]
    monkeypatch.setitem(sys.modules, f"{name}_jobstep", None)
    assert one("plugin").cure == "make env"
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(Path.cwd())
    Path(f"{name}.py").write_text("open('/no/such/file')")
    assert "FileNotFoundError" in one("plugin").said


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
    found = one("torch")
    assert found.level == level


def test_a_driver_that_was_killed(slurm: Slurm) -> None:
    assert one("driver").level == "ok"
    locks = Path(".snakemake/locks")
    locks.mkdir(parents=True)
    assert one("driver").level == "ok"
    (locks / "0.output.lock").write_text("results/x\n")
    assert one("driver").cure == "make recover"
    drivers = Path(".snakemake/drivers")
    drivers.mkdir()
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    record = {"host": socket.gethostname(), "pid": gone.pid, "started": 1.0}
    record |= {"command": ["snakemake"], "products": {}}
    (drivers / "a.json").write_text(json.dumps(record))
    assert f"Snakemake {gone.pid} on {socket.gethostname()} was killed" in one("driver").said
    (drivers / "a.json").write_text(json.dumps({**record, "host": "login9"}))
    assert one("driver").cure == "make doctor on login9"


def test_a_driver_at_work(slurm: Slurm) -> None:
    me = psutil.Process()
    record = {"host": socket.gethostname(), "pid": me.pid, "started": me.create_time()}
    record |= {"command": ["snakemake"], "products": {}}
    Path(".snakemake/drivers").mkdir(parents=True)
    Path(".snakemake/drivers/a.json").write_text(json.dumps(record))
    found = one("driver")
    assert (found.level, "at work" in found.said) == ("ok", True)


@pytest.mark.parametrize("name", ["profiles/default", "default"])
def test_a_profile_that_overrides_ours(slurm: Slurm, name: str) -> None:
    assert about("profile") == []
    Path(name).mkdir(parents=True)
    assert name in one("profile").said


def gigabytes(found: Finding) -> float:
    """What a study still needs."""
    return float(found.said.split("needs ")[1].split(" GB")[0])


def test_disk(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, 10**12))
    found = one("disk", SMOKE)
    assert found.level == "ok"
    needed = gigabytes(found)
    assert 3 < needed < 30
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, 10**9))
    found = one("disk", SMOKE)
    assert found.level == "error"
    assert "1.0 GB free" in found.said
    there = Path(SMOKE, "runs/gemma3-270m.facts.ls0.1.s0/weights")
    there.parent.mkdir(parents=True)
    with open(there, "wb") as stream:
        stream.truncate(10**9)  # a hole: no byte of it is written
    less = one("disk", SMOKE)
    assert gigabytes(less) == pytest.approx(needed - 1, abs=0.11)
    with open(there, "wb") as stream:
        stream.truncate(10**12)  # more than all checkpoints: the models still need room
    raw = checkout.config(Path())
    models = raw["studies"][SMOKE]["models"]
    weights = sum(raw["models"][name]["parameters"] for name in models) * 4 / 1e9
    assert gigabytes(one("disk", SMOKE)) == pytest.approx(weights, abs=0.2)


def test_disk_of_study_2(slurm: Slurm) -> None:
    """What is fetched is no longer needed."""
    root = "results/demo/msp"
    needed = gigabytes(one("disk", root))
    assert 0.5 < needed < 1
    there = Path("results/inputs/models/smollm2-135m-instruct/weights")
    there.parent.mkdir(parents=True)
    with open(there, "wb") as stream:
        stream.truncate(10**9)
    assert gigabytes(one("disk", root)) < 0.1


def test_disk_that_trainings_need_for_a_time(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of Gemma 3 has 6.4 GB of scratch: weights and two moments, twice, float32."""
    edited({f"studies:{SMOKE}:training:save_every": 1})
    usage = namedtuple("usage", "total used free")
    free = {"now": 10**12}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, free["now"]))
    found = one("disk", SMOKE)
    assert found.level == "ok"
    assert found.said.endswith("for each run that is at work 6.4 GB, 19.3 GB for all at once")
    stays = gigabytes(found)
    free["now"] = int((stays + 13) * 1e9)
    found = one("disk", SMOKE)
    assert (found.level, found.cure[-8:]) == ("warning", "--jobs 2")
    free["now"] = int((stays + 6) * 1e9)
    assert one("disk", SMOKE).level == "error"
    edited({f"studies:{SMOKE}:training:save_every": 1, "keep_checkpoints": False})
    assert gigabytes(one("disk", SMOKE)) < stays


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"xyz")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert checks._bytes([tmp_path]) == 3


def test_a_study_whose_size_is_not_known(slurm: Slurm) -> None:
    raw = checkout.config(Path())["models"]["gemma3-270m"]
    edited({"models:gemma3-270m": {**raw, "parameters": None}})
    found = about("disk", SMOKE)
    assert found[0].level == "error"
    assert "models.gemma3-270m.parameters" in found[0].said


def test_file_systems(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert about("file system") == []
    monkeypatch.setattr(checks, "PASSING", [str(Path.cwd().parent)])
    assert "a folder of one machine" in one("file system").said
    monkeypatch.setattr(checks, "PASSING", [])
    mount = namedtuple("mount", "mountpoint fstype")
    mounts = [mount("/", "ext4"), mount(str(Path.cwd().parent), "tmpfs")]
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: mounts)
    assert "in memory" in one("file system").said
    mounts.append(mount(str(Path.cwd()), "nfs4"))
    assert about("file system") == []
    counts = namedtuple("counts", "f_files f_favail")
    monkeypatch.setattr(os, "statvfs", lambda _: counts(10**6, 12))
    assert one("file system").said.startswith("room for 12 more files")
    monkeypatch.setattr(os, "statvfs", lambda _: counts(0, 0))  # btrfs: not counted
    assert about("file system") == []
