"""End the job of `make submit`, and cancel its jobs; what they have finished is kept."""

from __future__ import annotations

import argparse
from pathlib import Path

import _path  # noqa: F401  finds multical
from multical.cluster import driver_job
from multical.errors import InputError, program


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    if not Path("Snakefile").is_file():
        raise InputError(f"{Path.cwd()}: no Snakefile here, expected multical's own folder")
    driver_job.stop()


if __name__ == "__main__":
    program(main)
