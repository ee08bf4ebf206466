"""Make SFT data: conversations in the schema of multical.data.conversations.

--params is {"kind": "cldr", "seed", "kinds", "held_out"} for English pairs about
the territories that the benchmark of the same seed and fraction does not ask about
(multical.data.cldr); {"kind": "hub", "repo", "revision", "config" (null for its default),
"split", "layout", "seed", "examples" (null for all), "held_out", "odd_rows"} for a data set
of the hub (multical.data.hub_sft), of which --held-out makes the held-out part, without the key
"examples"; or {"kind": "file", "path"} for any JSON Lines file in the schema. --input says
where that file lies instead. --about says what they were made of: settings, the SHA-256 of
files, and rows left out by reason.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from multical import params
from multical.data import cldr, conversations, hub_sft
from multical.data.conversations import Conversation
from multical.errors import InputError, program
from multical.files import sha256, write_json

NULL = type(None)
HUB: params.Kinds = {
    "repo": str,
    "revision": (str, NULL),
    "config": (str, NULL),
    "split": str,
    "layout": str,
    "seed": int,
    "held_out": int,
    "odd_rows": str,
}
CHOICES = {"layout": [*hub_sft.LAYOUTS, "alpaca"], "odd_rows": ["error", "leave_out"]}


def main() -> None:
    """Write the conversations, and what they were made of."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", required=True, metavar="JSON", help="see above")
    parser.add_argument("--input", type=Path, help="conversations to read, for kind file")
    parser.add_argument("--held-out", action="store_true", help="the held-out part, for kind hub")
    parser.add_argument("--output", required=True, type=Path, help="conversations, .jsonl")
    parser.add_argument("--about", type=Path, help="what they were made of, .json")
    args = parser.parse_args()
    wanted = params.parse(args.params)
    about: dict[str, Any] = {"source": dict(wanted), "files": {}}
    kind = wanted.pop("kind", None)
    if args.held_out and kind != "hub":
        raise InputError(f"--held-out: found kind {kind!r}, expected 'hub'")
    pairs: Iterable[Conversation]
    rows = None
    match kind:
        case "cldr":
            params.check(wanted, {"seed": int, "kinds": list, "held_out": float})
            pairs = cldr.sft_pairs(**wanted)
        case "file":
            params.check(wanted, {"path": str})
            path = args.input or Path(wanted["path"])
            pairs = conversations.read(path)
            about["files"] = {path.name: sha256(path)}
        case "hub":
            rows, pairs = from_hub(wanted, args.held_out)
            about["files"] = rows.part.files
        case kind:
            raise InputError(f"--params: kind: {kind!r}, expected 'cldr', 'file' or 'hub'")
    conversations.write(args.output, pairs)
    if rows:
        about |= {"rows": len(rows.part.rows), "left_out": dict(rows.left_out)}
    if args.about:
        write_json(args.about, about)


def from_hub(wanted: dict[str, Any], held: bool) -> tuple[hub_sft.Rows, Iterable[Conversation]]:
    """The rows of a data set, and the conversations that are chosen of them as they are read."""
    params.check(wanted, HUB if held else {**HUB, "examples": (int, NULL)})
    for key, values in CHOICES.items():
        params.known(key, [wanted[key]], values)
    keys = ("repo", "revision", "config", "split", "layout", "odd_rows")
    rows = hub_sft.Rows(**{key: wanted[key] for key in keys})
    examples = wanted.get("examples")
    return rows, rows.chosen(wanted["seed"], examples, wanted["held_out"], held)


if __name__ == "__main__":
    program(main)
