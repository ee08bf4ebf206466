"""Import the released per-question outputs of study 2 into records.

They are read, without unpacking, from the first of: the path in the environment
variable MSP_V2_ARCHIVE (a folder or a tar archive), the path `archive` of the
parameters, the pinned commit of the upstream repository (a download). Each file's
SHA-256 must be the one in the manifest. Every missing, truncated, duplicated or
garbled file is named, and then nothing is written.
"""

from __future__ import annotations

import os

from multical import files, records
from multical.data import released
from multical.errors import program
from multical.figures import msp_tables

KEYS = ("study", "archive", "repository", "commit", "folder", "models", "datasets", "prompts")


def main() -> None:
    parser = msp_tables.parser(__doc__, KEYS)
    parser.add_argument(
        "--manifest", nargs="?", help="SHA-256 of each file, as sha256sum writes them"
    )
    parser.add_argument("--records", required=True, help="output: the records, Parquet")
    parser.add_argument("--summary", required=True, help="output: what was imported, JSON")
    args = parser.parse_args()
    params = msp_tables.parameters(args.params, KEYS)
    frame, summary = released.records(
        released.files(source(params), params["folder"]),
        models={model["file"]: model for model in params["models"]},
        datasets={dataset["id"]: dataset["questions"] for dataset in params["datasets"]},
        prompts=params["prompts"],
        manifest=released.read_manifest(args.manifest) if args.manifest else None,
    )
    records.write(args.records, frame)
    files.write_json(args.summary, summary | {"code": args.code})


def source(params: dict[str, str]) -> str:
    """Where to read from: the environment, the config, or the pinned upstream."""
    local = os.environ.get("MSP_V2_ARCHIVE") or params["archive"]
    return local or f"{params['repository']}/archive/{params['commit']}.tar.gz"


if __name__ == "__main__":
    program(main)
