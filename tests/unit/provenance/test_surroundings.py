"""Variables and modules around a process that would change its results without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_jobs_get_no_folders_of_modules(tmp_path: Path) -> None:
    """Neither those that hide a library nor those that one would find beside itself."""
    own = str(SCRIPTS.parent / "tools")
    environ = {"PYTHONPATH": os.pathsep.join([own, "/opt/modules", str(tmp_path)]), "HOME": "/"}
    (line,) = surroundings.clear(environ)
    assert line == (
        f"$PYTHONPATH: /opt/modules{os.pathsep}{tmp_path}: not handed to jobs, whose results it "
        "could change"
    )
    assert environ == {"HOME": "/"}
    environ = {"PYTHONPATH": own}
    assert surroundings.clear(environ) == []
    assert environ == {}


@pytest.mark.parametrize(
    "name",
    ["ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_DEFAULT_FPMATH_MODE", "NPY_DISABLE_CPU_FEATURES"],
)
def test_no_library_computes_as_on_another_processor(name: str) -> None:
    """The first two change the weights of a tiny training."""
    environ = {name: "x", "MKL_NUM_THREADS": "1"}
    assert surroundings.clear(environ)[0].startswith(f"${name}: not handed to jobs")
    assert [*environ] == ["MKL_NUM_THREADS"]


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
    surroundings.check_scripts(plain)
    with pytest.raises(InputError, match=rf"foreign/{module}: hides the module of that name"):
        surroundings.check_scripts(foreign)


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
