"""Print environment.yaml: the lock as a conda environment, for `snakemake --sdm conda`."""

from __future__ import annotations

from pathlib import Path

HEAD = """\
# The pins of requirements.lock as a conda environment; made by `make lock`, do not edit.
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def main() -> None:
    lock = Path(__file__).with_name("requirements.lock").read_text(encoding="utf-8")
    pins = [line for line in lock.splitlines() if "==" in line and not line.startswith("#")]
    print(HEAD + "\n".join(f"      - {pin}" for pin in pins))


if __name__ == "__main__":
    main()
