"""Make SFT data: conversations in the schema of multical.conversations.

--params is {"kind": "cldr", "seed", "kinds", "held_out"} for English pairs about
the territories that the benchmark of the same seed and fraction does not ask about
(multical.cldr), or {"kind": "file", "path"} for any JSON Lines file in the schema.
--input says where that file lies instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from multical import cldr, conversations, params
from multical.errors import InputError, program


def main() -> None:
    """Write the conversations."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", required=True, metavar="JSON", help="see above")
    parser.add_argument("--input", type=Path, help="conversations to read, for kind file")
    parser.add_argument("--output", required=True, type=Path, help="conversations, .jsonl")
    args = parser.parse_args()
    wanted = params.parse(args.params)
    match wanted.pop("kind", None):
        case "cldr":
            params.check(wanted, {"seed": int, "kinds": list, "held_out": float})
            pairs = cldr.sft_pairs(**wanted)
        case "file":
            params.check(wanted, {"path": str})
            pairs = conversations.read(args.input or Path(wanted["path"]))
        case kind:
            raise InputError(f"--params: kind: {kind!r}, expected 'cldr' or 'file'")
    conversations.write(args.output, pairs)


if __name__ == "__main__":
    program(main)
