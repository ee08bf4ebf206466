"""Choose the learning rate whose trial has the lowest loss on held-out conversations.

If losses are equal, the program chooses the smaller rate. The output also lists all trials.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from multical.errors import InputError, program
from multical.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--manifests", nargs="+", required=True, type=Path, help="manifests of the trials"
    )
    parser.add_argument(
        "--losses",
        nargs="+",
        required=True,
        type=Path,
        help="losses of the trials, in the same order",
    )
    parser.add_argument("--output", required=True, type=Path, help="output: the choice, .json")
    args = parser.parse_args()
    if len(args.manifests) != len(args.losses):
        raise InputError(f"--losses: found {len(args.losses)}, expected {len(args.manifests)}")
    trials = [*map(read_trial, args.manifests, args.losses)]
    if len({(trial["tokens"], trial["conversations"]) for trial in trials}) > 1:
        raise InputError(f"--losses: {trials}, expected all on the same conversations")
    best = min(trials, key=lambda trial: (trial["loss"], trial["learning_rate"]))
    choice = {"run": best["run"], "learning_rate": best["learning_rate"]}
    write_json(args.output, {**choice, "trials": trials})


def read_trial(manifest: Path, loss: Path) -> dict[str, Any]:
    """The run, learning rate and held-out loss of a trial."""
    try:
        trained = json.loads(manifest.read_text(encoding="utf-8"))
        evaluated = json.loads(loss.read_text(encoding="utf-8"))
        rate, run = trained["params"]["learning_rate"], trained["run"]
        about = {key: evaluated[key] for key in ("loss", "tokens", "conversations")}
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{manifest}, {loss}: not a trial and its loss ({error!r})") from error
    if evaluated.get("run") != run:
        raise InputError(f"{loss}: of {evaluated.get('run')!r}, expected {run!r}")
    return {"run": run, "learning_rate": rate, **about}


if __name__ == "__main__":
    program(main)
