"""Make SFT data: conversations in the schema of multical.data.conversations.

--about tells the source, the SHA-256 of its files, and the number of rows left out by reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from multical.data import cldr, conversations, hub_sft
from multical.data.conversations import Conversation
from multical.data.sft_params import CldrSft, HubSft, SftDataJob
from multical.errors import program
from multical.files import sha256, write_json
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
    source, rows = job.source, None
    about: dict[str, Any] = {"source": source.model_dump(mode="json"), "files": {}}
    pairs: Iterable[Conversation]
    match source:
        case CldrSft():
            pairs = cldr.sft_pairs(**source.model_dump(exclude={"kind"}))
        case HubSft():
            rows = hub_sft.Rows(
                source.repo,
                source.revision,
                source.config,
                source.split,
                source.layout,
                source.odd_rows,
            )
            pairs = rows.chosen(source.seed, source.examples, source.held_out, job.held_out)
            about["files"] = rows.part.files
        case _:
            path = Path(source.path)
            pairs = conversations.read(path)
            about["files"] = {path.name: sha256(path)}
    conversations.write(args.output, pairs)
    if rows:
        about |= {"rows": len(rows.part.rows), "left_out": dict(rows.left_out)}
    write_json(args.about, about)


if __name__ == "__main__":
    program(main)
