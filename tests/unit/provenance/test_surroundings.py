"""Variables and modules around a process that would change its results without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from multical.errors import InputError
from multical.provenance import surroundings

SCRIPTS = Path(surroundings.__file__).parents[2]
#: What a program would record of its libraries
RECORD = """
import sys
sys.path.insert(0, {scripts!r})
import yaml, numpy, tenacity
from multical.provenance.libraries import libraries
print(libraries()["tenacity"])
"""


def test_settings_of_accelerate_are_removed() -> None:
    environ = {
        "ACCELERATE_MIXED_PRECISION": "bf16", "FSDP_OFFLOAD_PARAMS": "true", "LOCAL_RANK": "0",
        "WORLD_SIZE": "2", "NVIDIA_TF32_OVERRIDE": "0", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
        "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Haswell",
        "HOME": "/", "SLURM_PROCID": "0", "OMP_NUM_THREADS": "1", "MY_ACCELERATE_X": "1",
    }  # fmt: skip
    lines = surroundings.clear(environ)
    assert [*environ] == ["HOME", "SLURM_PROCID", "OMP_NUM_THREADS", "MY_ACCELERATE_X"]
    assert len(lines) == 10
    expected = (
        "$ACCELERATE_MIXED_PRECISION: not handed to jobs, since it would change their results"
    )
    assert lines[0] == expected
    assert surroundings.clear(environ) == []


@pytest.mark.parametrize(
    "name",
    ["numpy.py", "json.py", "yaml/__init__.py", "numpy.abi3.so", "numpy.pyc", "sitecustomize.py"],
)
def test_modules_that_hide_others(tmp_path: Path, name: str) -> None:
    plain, foreign = tmp_path / "plain", tmp_path / "foreign"
    for file in (plain / "own_module.py", plain / "numpy" / "data.txt", foreign / name):
        file.parent.mkdir(exist_ok=True, parents=True)
        file.touch()
    module = name.split(".")[0].split("/")[0]
    environ = {"PYTHONPATH": f"{plain}{os.pathsep}{foreign}{os.pathsep}/none"}
    (line,) = surroundings.clear(environ)
    assert line == f"$PYTHONPATH: {foreign}: not handed to jobs, since it hides {module}"
    assert environ == {"PYTHONPATH": f"{plain}{os.pathsep}/none"}
    surroundings.check_scripts(plain)
    with pytest.raises(InputError, match=rf"foreign/{module}: hides the module of that name"):
        surroundings.check_scripts(foreign)


@pytest.mark.parametrize("given", ["{empty}:", ":{empty}", "{zip}:{empty}"])
def test_modules_of_the_present_folder_and_of_zips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """Python takes `PYTHONPATH=$PYTHONPATH:folder` for the present folder if it was not set."""
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for name in ("plain", "numpy"):
        with ZipFile(f"{name}.zip", "w") as archive:
            archive.writestr(f"{name}.py", "")
    plain = {"PYTHONPATH": given.format(empty="empty", zip="plain.zip")}
    assert surroundings.clear(plain) == []
    for name in ("numpy.py", "yaml.py"):
        Path(name).touch()
    environ = {"PYTHONPATH": given.format(empty="empty", zip="numpy.zip")}
    (line,) = surroundings.clear(environ)
    place = "numpy.zip" if "zip" in given else "the present folder"
    assert line == f"$PYTHONPATH: {place}: not handed to jobs, since it hides numpy"
    assert environ == {"PYTHONPATH": "empty"}
    for unset in ({}, {"PYTHONPATH": ""}):
        assert surroundings.clear(unset) == []


def test_no_program_of_ours_hides_a_module() -> None:
    surroundings.check_scripts(SCRIPTS)
    for folder in ("tools", "benchmarks"):
        surroundings.check_scripts(SCRIPTS.parent / folder)


def test_a_library_from_elsewhere_is_recorded_as_such(tmp_path: Path) -> None:
    def recorded(**environ: str) -> str:
        program = [sys.executable, "-c", RECORD.format(scripts=str(SCRIPTS))]
        done = subprocess.run(
            program, env=os.environ | environ, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    version = recorded()
    assert version[0].isdigit()
    assert " " not in version
    (tmp_path / "tenacity.py").touch()
    assert recorded(PYTHONPATH=str(tmp_path)) == f"{version} (not this, another module)"
