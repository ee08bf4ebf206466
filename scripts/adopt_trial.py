"""Make the trial of the chosen learning rate a run of the study, without training it again.

Its checkpoint's files become the run's by hard links, or copies where links do not work.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

from multical.errors import InputError, program
from multical.files import atomic, write_json
from multical.models import checkpoints, learning_rate

#: Where Snakemake keeps when it made a folder: shared, the trial would seem to be made again
OWN_OF_SNAKEMAKE = shutil.ignore_patterns(".snakemake_timestamp")


def main() -> None:
    """Link the checkpoint, copy what the trial used, write a manifest with the run's name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, help="id of the run")
    parser.add_argument("--choice", required=True, type=Path, help="of choose_learning_rate")
    parser.add_argument("--manifests", nargs="+", required=True, type=Path, help="of the trials")
    parser.add_argument("--manifest", required=True, type=Path, help="of the run, .json")
    parser.add_argument("--checkpoint", required=True, type=Path, help="folder of the run")
    parser.add_argument("--loss-log", required=True, type=Path, help="of the run, .jsonl")
    parser.add_argument("--usage", required=True, type=Path, help="of the trial, .json")
    args = parser.parse_args()
    chosen, _ = learning_rate.read(args.choice)
    trial = next((one for one in args.manifests if one.parent.name == chosen), None)
    if trial is None:
        found = [one.parent.name for one in args.manifests]
        raise InputError(f"{args.choice}: run: found {chosen!r}, expected one of {found}")
    source = checkpoints.verified(trial, contents=False)
    about = json.loads(trial.read_text(encoding="utf-8"))
    with (
        atomic(args.checkpoint) as folder,
        atomic(args.loss_log) as log,
        atomic(args.usage) as usage,
    ):
        shutil.copytree(source, folder, copy_function=link, ignore=OWN_OF_SNAKEMAKE)
        shutil.copyfile(trial.with_name("loss.jsonl"), log)
        shutil.copyfile(trial.with_name("usage.json"), usage)
    write_json(args.manifest, {**about, "run": args.run, "trial": chosen})


def link(source: str, target: str) -> None:
    """A hard link, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


if __name__ == "__main__":
    program(main)
