"""Write the lock in the other forms that Snakemake and builders of containers take.

`make lock` runs it; a test fails when they differ from the lock. The two containers have one base,
Debian 12, and the same steps.
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

#: What a container needs besides the lock, and the environment that `make env` makes
STEPS = [
    "apt-get update",
    "apt-get install --yes --no-install-recommends ca-certificates git make python3.11 python3-pip",
    "rm -rf /var/lib/apt/lists/*",
    "python3.11 -m venv --without-pip /opt/venv",
    "python3.11 /opt/choose.py /opt/venv",
    "python3.11 -m pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes"
    " --requirement /opt/venv/requirements.txt",
]

APPTAINER = """\
# The pins of requirements.lock as a container; made by `make lock`, do not edit.
#   apptainer build envs/multical.sif envs/apptainer.def
#   snakemake --sdm apptainer ...          (for GPUs: --apptainer-args=--nv)
Bootstrap: docker
From: {base}

%files
    envs/requirements.lock /opt/requirements.lock
    envs/choose.py /opt/choose.py

# torch is of the build that `make env` would choose on the machine that builds this
%post
{steps}

%environment
    export PATH=/opt/venv/bin:$PATH LC_ALL=C.UTF-8
"""

BASE = "debian:bookworm-slim"
CONTAINERFILE = """\
# The pins of requirements.lock as a container; made by `make lock`, do not edit.
#   podman build --tag multical --file envs/Containerfile envs
#   podman run --rm --volume "$PWD:/multical" multical snakemake -c2 results/smoke/headline.txt
ARG BASE=docker.io/library/{base}
FROM ${{BASE}}
COPY requirements.lock /opt/requirements.lock
COPY choose.py /opt/choose.py
# cpu or cuda; by default as `make env` chooses where this is built
ARG TORCH=
{steps}
ENV PATH=/opt/venv/bin:$PATH LC_ALL=C.UTF-8
WORKDIR /multical
"""


def generated() -> dict[str, str]:
    """The text of each file, by its name."""
    lock = (HERE / "requirements.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^[\w.-]+==\S+", lock, re.MULTILINE)  # for any processor, so no checksums
    conda = "\n".join(f"      - {pin}" for pin in pins)
    return {
        "environment.yaml": CONDA.format(conda=conda),
        "apptainer.def": APPTAINER.format(
            base=BASE, steps="\n".join(f"    {step}" for step in STEPS)
        ),
        "Containerfile": CONTAINERFILE.format(
            base=BASE, steps="\n".join(f"RUN {step}" for step in STEPS)
        ),
    }


def main() -> None:
    for name, text in generated().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
