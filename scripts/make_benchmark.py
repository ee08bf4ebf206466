"""Make a benchmark: questions in the schema of multical.data.questions, and a report.

The report counts questions by language and kind, which is the subject. For files and data sets of
the hub it also counts the rows left out, for paper 2 the questions with options left out, and for
cldr the names that are missing, that equal the English ones, and that give an answer away. --about
tells the source and the SHA-256 of its files.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from multical.data import cldr, hub_english, hub_multilingual, questions
from multical.data.benchmark_params import (
    BenchmarkJob,
    BenchmarkSource,
    CldrBenchmark,
    HubBenchmark,
    QuestionFile,
)
from multical.data.odd_rows import OddRows
from multical.errors import program
from multical.files import atomic, write_json
from multical.fixity import Inputs
from multical.params import command_line


def main() -> None:
    """Write the questions, the report, and a description of their source."""
    parser = command_line(
        __doc__,
        BenchmarkJob,
        output="output: questions, .parquet",
        report="output: counts, .csv",
        about="output: the source, .json",
    )
    args = parser.parse_args()
    job: BenchmarkJob = args.params
    frame, report, files = make(job.source, job.examples)
    questions.write(args.output, frame)
    with atomic(args.report) as temporary:
        report.to_csv(temporary, index=False, lineterminator="\n")
    source = job.source.model_dump(mode="json")
    write_json(args.about, {"source": source, "files": files, "questions": len(frame)})


def make(
    source: BenchmarkSource, examples: bool
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """The questions or few-shot examples, the report, and the SHA-256 of the files."""
    match source:
        case CldrBenchmark():
            return *cldr.benchmark(**source.model_dump(exclude={"kind"})), {}
        case QuestionFile():
            path, odd = Path(source.path), OddRows(source.odd_rows)
            given = Inputs([path])
            frame = questions.read(path, odd)
            given.check()
            count = Counter(zip(frame["language"], frame["subject"], strict=True))
            report = questions.counted(count, odd.by_group)
            return frame, report, {path.name: given.digests[str(path)]}
        case HubBenchmark():
            fewshot = source.fewshot_split if examples else None
            return hub_multilingual.benchmark(source, fewshot or source.split)
        case _:
            return hub_english.benchmark(**source.model_dump(), examples=examples)


if __name__ == "__main__":
    program(main)
