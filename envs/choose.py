"""Choose torch's build for an environment, and write what pip is to install there.

`make env` runs it with a Python that has nothing but pip. TORCH=cpu or cuda chooses. By default it
is the CUDA build where there is an NVIDIA GPU, and where pip knows of no other; it takes twice
the space of the CPU build. The lock has the checksums of both, and after `#cuda` what only
the CUDA build needs.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("requirements.lock")
BUILDS = ("cpu", "cuda")
MARK = "#cuda "
GPUS = Path("/proc/driver/nvidia/gpus")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the environment")
    folder = parser.parse_args().folder
    lock = LOCK.read_text(encoding="utf-8")
    build = chosen(os.environ.get("TORCH", ""), pinned(lock))
    (folder / "requirements.txt").write_text(requirements(lock, build), encoding="utf-8")
    (folder / "torch").write_text(f"{build}\n", encoding="utf-8")


def chosen(wanted: str, version: str) -> str:
    """The build: as wanted, or what suits this machine; what is not obvious is said."""
    if wanted:
        if wanted not in BUILDS:
            sys.exit(f"error: TORCH: found {wanted!r}, expected one of {list(BUILDS)}")
        if wanted == "cpu" and not has_cpu_build(version):
            sys.exit(f"error: TORCH=cpu: pip finds no torch {local(version)}: {REMEDY}")
        return wanted
    if has_gpu():
        return "cuda"
    if has_cpu_build(version):
        return "cpu"
    print(
        f"torch: the CUDA build, though no NVIDIA GPU is here, since pip finds no {local(version)} "
        f"(to save 3 GB, {REMEDY}, and make env TORCH=cpu)",
        file=sys.stderr,
    )
    return "cuda"


REMEDY = "name PyTorch's own index of CPU builds in PIP_EXTRA_INDEX_URL"


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU, by its driver."""
    if GPUS.is_dir() and any(GPUS.iterdir()):
        return True
    if shutil.which("nvidia-smi") is None:
        return False
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    return listed.returncode == 0 and listed.stdout.startswith("GPU")


def has_cpu_build(version: str) -> bool:
    """Whether pip finds the CPU build, which has a name of its own on Linux alone."""
    if local(version) == version:
        return True
    command = [sys.executable, "-m", "pip", "index", "versions", "torch"]
    found = subprocess.run(command, capture_output=True, text=True)
    return local(version) in re.split(r"[\s,]+", found.stdout)


def local(version: str) -> str:
    """The version of the CPU build."""
    return f"{version}+cpu" if platform.system() == "Linux" else version


def pinned(lock: str) -> str:
    """The version of torch in the lock."""
    (version,) = re.findall(r"^torch==(\S+)", lock, re.MULTILINE)
    return str(version)


def requirements(lock: str, build: str) -> str:
    """The lock with one build of torch, as pip reads it."""
    version = pinned(lock)
    if build == "cuda":
        # === since == would take the CPU build where an index has both
        return lock.replace(MARK, "").replace(f"\ntorch=={version}", f"\ntorch==={version}")
    return lock.replace(f"\ntorch=={version}", f"\ntorch=={local(version)}")


if __name__ == "__main__":
    main()
