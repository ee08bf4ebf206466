"""Choose the learning rate whose trial has the least loss on held-out conversations.

Of equal losses the smaller rate is chosen. The output lists all trials beside the choice.
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
    parser.add_argument("--manifests", nargs="+", required=True, type=Path, help="of the trials")
    parser.add_argument("--losses", nargs="+", required=True, type=Path, help="in their order")
    parser.add_argument("--output", required=True, type=Path, help="the choice, .json")
    args = parser.parse_args()
    if len(args.manifests) != len(args.losses):
        raise InputError(f"--losses: found {len(args.losses)}, expected {len(args.manifests)}")
    trials = [*map(trial, args.manifests, args.losses)]
    if len({(one["tokens"], one["conversations"]) for one in trials}) > 1:
        raise InputError(f"--losses: {trials}, expected all to be of the same conversations")
    best = min(trials, key=lambda one: (one["loss"], one["learning_rate"]))
    choice = {"run": best["run"], "learning_rate": best["learning_rate"]}
    write_json(args.output, {**choice, "trials": trials})


def trial(manifest: Path, loss: Path) -> dict[str, Any]:
    """A trial's loss with its learning rate."""
    try:
        trained = json.loads(manifest.read_text(encoding="utf-8"))
        found = json.loads(loss.read_text(encoding="utf-8"))
        rate, run = trained["params"]["learning_rate"], trained["run"]
        about = {key: found[key] for key in ("loss", "tokens", "conversations")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{manifest}, {loss}: not a trial and its loss ({error!r})") from error
    if found.get("run") != run:
        raise InputError(f"{loss}: of {found.get('run')!r}, expected {run!r}")
    return {"run": run, "learning_rate": rate, **about}


if __name__ == "__main__":
    program(main)
