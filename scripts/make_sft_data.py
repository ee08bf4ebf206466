"""Make SFT data: conversations in the schema of multical.data.conversations.

--about tells the source, the SHA-256 of its files, and the number of rows left out by reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multical.data import cldr, conversations, hub_sft
from multical.data.odd_rows import OddRows
from multical.data.sft_params import CldrSft, HubSft, SftDataJob, SftFile
from multical.errors import program
from multical.files import write_json
from multical.fixity import Inputs
from multical.params import command_line


def main() -> None:
    """Write the conversations, and a description of their source."""
    parser = command_line(
        __doc__,
        SftDataJob,
        output="output: conversations, .jsonl",
        about="output: their source, .json",
    )
    args = parser.parse_args()
    job: SftDataJob = args.params
    source = job.source
    about: dict[str, Any] = {"source": source.model_dump(mode="json"), "files": {}}
    match source:
        case CldrSft():
            conversations.write(args.output, cldr.sft_pairs(**source.model_dump(exclude={"kind"})))
        case SftFile():
            about |= copy(source, job.held_out, args.output)
        case _:
            about |= choose(source, job.held_out, args.output)
    write_json(args.about, about)


def copy(source: SftFile, held_out: bool, output: Path) -> dict[str, Any]:
    """Write the conversations of a file; returns its checksum, and counts of its rows."""
    path, odd = Path(source.path), OddRows(source.odd_rows)
    given = Inputs([path])
    pairs = conversations.read(path, odd)
    given.check()
    chosen, same = conversations.part(pairs, source.held_out, held_out, path)
    conversations.write(output, chosen)
    rows = len(pairs) + len(odd.rows)
    digests = {path.name: given.digests[str(path)]}
    return {"files": digests, "rows": rows, "left_out": left_out(odd, same)}


def choose(source: HubSft, held_out: bool, output: Path) -> dict[str, Any]:
    """Write conversations from the hub; returns checksums of their files, and counts of rows."""
    rows = hub_sft.Rows(
        source.repo, source.revision, source.config, source.split, source.layout, source.odd_rows
    )
    pairs = rows.chosen(source.seed, source.examples, source.held_out, held_out)
    conversations.write(output, pairs)
    counts = left_out(rows.odd, rows.same)
    return {"files": rows.part.files, "rows": len(rows.part.rows), "left_out": counts}


def left_out(odd: OddRows, same: int) -> dict[str, int]:
    """The number of rows left out by reason."""
    return odd.by_kind | ({conversations.SAME: same} if same else {})


if __name__ == "__main__":
    program(main)
