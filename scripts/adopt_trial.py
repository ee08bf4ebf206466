"""Make the trial of the chosen learning rate a run of the study, without training it again.

The run gets hard links to the files of the trial's checkpoint, or copies if links do not work.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from multical.errors import InputError, program
from multical.files import atomic, write_json
from multical.models import checkpoints, learning_rate


def main() -> None:
    """Link the checkpoint, copy the loss log and the usage, write a manifest with the run's id."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, help="id of the run")
    parser.add_argument(
        "--choice", required=True, type=Path, help="output of choose_learning_rate.py"
    )
    parser.add_argument(
        "--manifests", nargs="+", required=True, type=Path, help="manifests of the trials"
    )
    parser.add_argument("--manifest", required=True, type=Path, help="output: manifest of the run")
    parser.add_argument("--checkpoint", required=True, type=Path, help="output: folder of the run")
    parser.add_argument(
        "--loss-log", required=True, type=Path, help="output: log of the run, .jsonl"
    )
    parser.add_argument(
        "--usage", required=True, type=Path, help="output: usage of the trial, .json"
    )
    args = parser.parse_args()
    chosen, _ = learning_rate.read(args.choice)
    trials = {manifest.parent.name: manifest for manifest in args.manifests}
    if (trial := trials.get(chosen)) is None:
        raise InputError(f"{args.choice}: run: found {chosen!r}, expected one of {[*trials]}")
    source = checkpoints.verified(trial, contents=False)
    about = json.loads(trial.read_text(encoding="utf-8"))
    with (
        atomic(args.checkpoint) as folder,
        atomic(args.loss_log) as log,
        atomic(args.usage) as usage,
    ):
        checkpoints.link(source, folder)
        shutil.copyfile(trial.with_name("loss.jsonl"), log)
        shutil.copyfile(trial.with_name("usage.json"), usage)
    write_json(args.manifest, {**about, "run": args.run, "trial": chosen})


if __name__ == "__main__":
    program(main)
