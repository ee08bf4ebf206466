"""Import sample logs of lm-evaluation-harness (--log_samples) into records.

One call imports one run on one benchmark in one or more languages. For each language it reads the
log of a multiple-choice task, or the logs of its subtasks.
"""

from __future__ import annotations

from multical import files, records
from multical.data import harness_logs
from multical.data.harness_params import HarnessJob
from multical.errors import InputError, program
from multical.params import command_line


def main() -> None:
    parser = command_line(__doc__, HarnessJob, records="output: the records, .parquet")
    parser.add_argument("--samples", nargs="+", required=True, metavar="LANGUAGE=GLOB",
                        help="input: logs of each language, samples_*.jsonl")  # fmt: skip
    args = parser.parse_args()
    job: HarnessJob = args.params
    languages = {}
    for item in args.samples:
        language, equals, pattern = item.partition("=")
        if not equals or not language or language in languages:
            raise InputError(f"--samples: {item!r}, expected LANGUAGE=GLOB, each language once")
        languages[language] = harness_logs.read(
            files.find(pattern),
            prefix="" if job.is_parallel else f"{language}.",
            id_field=job.id_field,
            subject_field=job.subject_field,
        )
    run = job.model_dump(exclude={"id_field", "parallel", "subject_field"})
    records.write(args.records, harness_logs.records(languages, run))


if __name__ == "__main__":
    program(main)
