"""Import the released per-question outputs of paper 2 into records.

They are read, without unpacking, from the first of: the path in the environment
variable MSP_V2_ARCHIVE (a folder or a tar archive), the path `archive` of the
parameters, the pinned commit of the upstream repository (a download). Each file's
SHA-256 must be the one in the manifest. Every missing, truncated, duplicated or
garbled file is named, and then nothing is written.
"""

from __future__ import annotations

import os

from multical import files, params, records
from multical.data import released
from multical.data.release_params import Release, Released
from multical.errors import program


def main() -> None:
    outputs = {"records": "output: the records, .parquet", "summary": "output: a summary, .json"}
    parser = params.command_line(__doc__, Released, **outputs)
    parser.add_argument("--code", required=True, help="fingerprint of the code, for the summary")
    parser.add_argument(
        "--manifest", nargs="?", help="SHA-256 of each file, as sha256sum writes them"
    )
    args = parser.parse_args()
    given: Released = args.params
    frame, summary = released.records(
        released.files(source(given.source), given.source.folder),
        models={model.file: model.max_logit for model in given.models},
        datasets={dataset.id: dataset.questions for dataset in given.datasets},
        prompts=given.prompts,
        manifest=released.read_manifest(args.manifest) if args.manifest else None,
    )
    records.write(args.records, frame)
    files.write_json(args.summary, summary | {"code": args.code})


def source(release: Release) -> str:
    """Where to read from: the environment, the config, or the pinned upstream."""
    local = os.environ.get("MSP_V2_ARCHIVE") or release.archive
    return local or f"{release.repository}/archive/{release.commit}.tar.gz"


if __name__ == "__main__":
    program(main)
