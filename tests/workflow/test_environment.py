"""The pinned environment in its three forms, what it must hold, and how it is made."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ENVS = Path(__file__).parents[2] / "envs"
GENERATED = runpy.run_path(str(ENVS / "generate.py"))["generated"]()
#: The Python that this environment was made with, which has pip
OUTER = Path(sys.base_prefix, "bin/python3.11")


def pins(text: str) -> set[str]:
    """The exact versions that a text of lines names."""
    return set(re.findall(r"^ *([\w.-]+==[^\s\\]+)", text, re.MULTILINE))


TEXT = (ENVS / "requirements.lock").read_text()
LOCK = pins(TEXT)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_from_the_lock(name: str) -> None:
    assert (ENVS / name).read_text() == GENERATED[name], "`make lock` writes it anew"


def test_conda_has_the_pins_of_the_lock() -> None:
    environment = yaml.safe_load((ENVS / "environment.yaml").read_text())
    python, _, inner = environment["dependencies"]
    assert python == "python=3.11"
    assert set(inner["pip"]) == LOCK


@pytest.mark.parametrize("name", ["apptainer.def", "Containerfile"])
def test_containers_have_the_lock_and_its_checksums(name: str) -> None:
    recipe = (ENVS / name).read_text()
    assert re.search(r"requirements\.lock /opt/requirements\.lock$", recipe, re.MULTILINE)
    assert "--require-hashes --requirement /opt/venv/requirements.txt" in recipe


def test_lock_has_what_was_asked_for() -> None:
    for line in (ENVS / "requirements.in").read_text().splitlines():
        asked = line.split("#")[0].strip().replace("[reports]", "").lower()
        if asked:
            found = [pin for pin in LOCK if pin.lower().split("==")[0] == asked.split("==")[0]]
            assert len(found) == 1, asked
            assert "==" not in asked or found[0].lower() == asked


def test_an_environment_is_made_anew_by_a_python_outside_of_it(tmp_path: Path) -> None:
    """The environment's own Python has no pip, and comes first on the path of recipes."""
    shutil.copy(ENVS.parent / "Makefile", tmp_path)
    for folder, line in (("outer", "outer"), (".venv/bin", "inner")):
        python = tmp_path / folder / "python3.11"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\necho {line} $2\n")
        python.chmod(0o755)
    (tmp_path / ".venv/lock").write_text("a==1\n")
    os.utime(tmp_path / ".venv/lock", (1, 1))
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/requirements.lock").write_text("a==2\n")
    made = subprocess.run(
        ["make", "--silent", "env"], cwd=tmp_path, check=True, capture_output=True, text=True,
        env=os.environ | {"PATH": f"{tmp_path / 'outer'}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert made.stdout.splitlines() == ["outer venv", "outer .venv", "outer pip"]


def test_the_lock_has_checksums_of_all_and_both_builds_of_torch() -> None:
    entries = re.findall(r"^(?:#cuda )?([\w.-]+)==\S+ \\\n((?:.*--hash.*\n)+)", TEXT, re.MULTILINE)
    cuda = {pin.split("==")[0] for pin in re.findall(r"^#cuda ([\w.-]+==)", TEXT, re.MULTILINE)}
    names = {pin.split("==")[0] for pin in LOCK}
    assert {name for name, _ in entries} == names | cuda
    assert all(
        re.fullmatch(r"(?:#cuda )?    --hash=sha256:[0-9a-f]{64}(?: \\)?", line)
        for _, sums in entries
        for line in sums.splitlines()
    )
    assert {"triton", "nvidia-cublas"} <= cuda
    assert not cuda & names


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that chooses the build, on Linux without a GPU, with both builds to be had."""
    spec = importlib.util.spec_from_file_location("choose", ENVS / "choose.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.platform, "system", lambda: "Linux")
    monkeypatch.setattr(module, "has_gpu", lambda: False)
    monkeypatch.setattr(module, "has_cpu_build", lambda version: True)
    return module


def test_the_build_is_what_the_machine_has(
    choose: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose.chosen("", "2.13.0") == "cpu"
    assert choose.chosen("cuda", "2.13.0") == "cuda"
    monkeypatch.setattr(choose, "has_gpu", lambda: True)
    assert choose.chosen("", "2.13.0") == "cuda"
    assert choose.chosen("cpu", "2.13.0") == "cpu"
    assert not capsys.readouterr().err
    monkeypatch.setattr(choose, "has_gpu", lambda: False)
    monkeypatch.setattr(choose, "has_cpu_build", lambda version: False)
    assert choose.chosen("", "2.13.0") == "cuda"
    assert "since pip finds no 2.13.0+cpu" in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r"TORCH=cpu: pip finds no torch 2\.13\.0\+cpu: name "):
        choose.chosen("cpu", "2.13.0")
    with pytest.raises(SystemExit, match=r"TORCH: found 'rocm', expected one of \['cpu', 'cuda'\]"):
        choose.chosen("rocm", "2.13.0")


def test_a_gpu_is_found_by_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = runpy.run_path(str(ENVS / "choose.py"))
    monkeypatch.setitem(choose["has_gpu"].__globals__, "GPUS", tmp_path / "gpus")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not choose["has_gpu"]()
    program = tmp_path / "nvidia-smi"
    for code, words, found in ((9, "no driver", False), (0, "GPU 0: NVIDIA H200", True)):
        program.write_text(f"#!/bin/sh\necho '{words}'; exit {code}\n")
        program.chmod(0o755)
        assert choose["has_gpu"]() == found
    program.unlink()
    (tmp_path / "gpus/0000:01:00.0").mkdir(parents=True)
    assert choose["has_gpu"]()


def wheel(folder: Path, name: str, version: str, *needs: str) -> Path:
    """A wheel that has nothing but its name."""
    file = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    about = "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(file, "w") as archive:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{about}"
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return file


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what makes the environment, for small wheels of both builds of torch alone."""
    for name in ("Makefile", "envs/choose.py", "envs/lock.py", "envs/generate.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ENVS.parent / name, tmp_path / name)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "helper", "1.0")
    wheel(wheels, "torch", "2.0", "helper", 'nvidia_part==3.0; platform_system == "Linux"')
    wheel(wheels, "torch", "2.0+cpu", "helper")
    wheel(wheels, "nvidia_part", "3.0")
    (tmp_path / "envs/requirements.in").write_text("torch==2.0  # tensors\n")
    for key in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(key)
    for key, value in {
        "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull,
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("TORCH", raising=False)
    return tmp_path


def make(house: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--silent", f"PYTHON={OUTER}", *words],
        cwd=house, capture_output=True, text=True, check=False,
    )  # fmt: skip


def installed(house: Path) -> set[str]:
    """The libraries of its environment, as the names of their folders say."""
    return {path.stem for path in (house / ".venv").glob("lib/python*/site-packages/*.dist-info")}


def test_one_lock_makes_both_environments(house: Path) -> None:
    assert not make(house, "lock").returncode
    digests = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (house / "wheels").iterdir()
    }
    both = sorted(digests[f"torch-2.0{build}-py3-none-any.whl"] for build in ("", "+cpu"))
    lock = (house / "envs/requirements.lock").read_text()
    assert lock.splitlines()[3:] == [
        "helper==1.0 \\",
        f"    --hash=sha256:{digests['helper-1.0-py3-none-any.whl']}",
        "torch==2.0 \\",
        f"    --hash=sha256:{both[0]} \\",
        f"    --hash=sha256:{both[1]}",
        "#cuda nvidia_part==3.0 \\",
        f"#cuda     --hash=sha256:{digests['nvidia_part-3.0-py3-none-any.whl']}",
    ]
    assert not make(house, "env", "TORCH=cuda").returncode
    assert installed(house) == {"helper-1.0", "torch-2.0", "nvidia_part-3.0"}
    (house / ".venv/mine").touch()
    for again in ([], ["TORCH=cuda"]):  # nothing has changed
        os.utime(house / "envs/requirements.lock")
        assert not make(house, "env", *again).returncode
        assert (house / ".venv/mine").exists()
    assert not make(house, "env", "TORCH=cpu").returncode
    assert installed(house) == {"helper-1.0", "torch-2.0+cpu"}
    assert (house / ".venv/lock").read_text() == lock


def test_a_file_with_another_content_is_not_installed(house: Path) -> None:
    assert not make(house, "lock").returncode
    wheel(house / "wheels", "helper", "1.0", "torch")
    made = make(house, "env", "TORCH=cpu")
    assert made.returncode
    assert "DO NOT MATCH THE HASHES" in made.stderr
    assert not (house / ".venv/lock").exists()
