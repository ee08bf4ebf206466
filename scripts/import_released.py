"""Import the released per-question outputs of paper 2 into records.

The program reads them without unpacking from the first of these sources: the path in the
environment variable that `variable` of the parameters names (a folder or a tar archive), the path
`archive`, a download of the pinned commit of the upstream repository. If there is a manifest, the
SHA-256 of each file must match it. If any file is truncated, duplicated or garbled, or missing
though the parameters do not say so, the program names such files and writes nothing.
"""

from __future__ import annotations

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
    job: Released = args.params
    frame, summary = released.records(
        released.files(source(job.source), job.source.folder),
        models={model.file: model.max_logit for model in job.models},
        datasets=job.questions,
        prompts=job.prompts,
        missing=job.missing,
        manifest=released.read_manifest(args.manifest) if args.manifest else None,
    )
    records.write(args.records, frame)
    missing = {
        " ".join(cell): [f"questions {start} to {stop}" for start, stop in spans]
        for cell, spans in job.missing.items()
    }
    files.write_json(args.summary, summary | {"missing": missing, "code": args.code})


def source(release: Release) -> str:
    """The path or URL to read: of the environment, of the config, or of the pinned commit."""
    return release.local or f"{release.repository}/archive/{release.commit}.tar.gz"


if __name__ == "__main__":
    program(main)
