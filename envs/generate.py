"""Write the lock in the two other forms that Snakemake can deploy: conda and Apptainer.

`make lock` runs it; a test fails when they differ from the lock.
"""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent

CONDA = """\
# The pins of requirements.lock as a conda environment; made by `make lock`, do not edit.
#   snakemake --sdm conda ...
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.11
  - pip
  - pip:
{conda}
"""

APPTAINER = """\
# The pins of requirements.lock as a container; made by `make lock`, do not edit.
#   apptainer build envs/multical.sif envs/apptainer.def
#   snakemake --sdm apptainer ...          (for GPUs: --apptainer-args=--nv)
Bootstrap: docker
From: python:3.11-slim-bookworm

%post
    cat >/opt/requirements.lock <<'END'
{pins}
END
    pip install --no-cache-dir --requirement /opt/requirements.lock

%environment
    export LC_ALL=C.UTF-8
"""


def generated() -> dict[str, str]:
    """The text of each file, by its name."""
    lock = (HERE / "requirements.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^[\w.-]+==\S+", lock, re.MULTILINE)  # for any processor, so no checksums
    conda = "\n".join(f"      - {pin}" for pin in pins)
    return {
        "environment.yaml": CONDA.format(conda=conda),
        "apptainer.def": APPTAINER.format(pins="\n".join(pins)),
    }


def main() -> None:
    for name, text in generated().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
