"""Make a benchmark: questions in the schema of multical.questions, and a report of their names.

--params is {"kind": "cldr", "seed", "kinds", "languages", "held_out",
"questions_per_language"} for the packaged facts from CLDR (multical.cldr), or
{"kind": "file", "path"} for any Parquet or JSON Lines file in the schema, of which
an optional "languages" takes a part. --input says where that file lies instead.
The report counts questions by language and kind (a file's subject); for cldr also
the names that are missing, that equal the English ones, and that give an answer away.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from multical import cldr, params, questions
from multical.errors import InputError, program
from multical.files import atomic

CLDR = {
    "seed": int,
    "kinds": list,
    "languages": list,
    "held_out": float,
    "questions_per_language": int,
}
FILE = {"path": str, "languages": list}


def main() -> None:
    """Write the questions and the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", required=True, metavar="JSON", help="see above")
    parser.add_argument("--input", type=Path, help="questions to read, for kind file")
    parser.add_argument("--output", required=True, type=Path, help="questions, .parquet")
    parser.add_argument("--report", required=True, type=Path, help="counts of names, .csv")
    args = parser.parse_args()
    wanted = params.parse(args.params)
    match wanted.pop("kind", None):
        case "cldr":
            params.check(wanted, CLDR)
            frame, report = cldr.benchmark(**wanted)
        case "file":
            params.check(wanted, FILE, optional=["languages"])
            frame = from_file(args.input or Path(wanted["path"]), wanted.get("languages"))
            counts = frame.groupby(["language", "subject"], dropna=False).size()
            report = counts.reset_index(name="questions").rename(columns={"subject": "kind"})
        case kind:
            raise InputError(f"--params: kind: {kind!r}, expected 'cldr' or 'file'")
    questions.write(args.output, frame)
    with atomic(args.report) as temporary:
        report.to_csv(temporary, index=False, lineterminator="\n")


def from_file(path: Path, languages: list[str] | None) -> pd.DataFrame:
    """Questions of a file, in some languages or all; each one asked for must be there."""
    frame = questions.read(path)
    if languages is None:
        return frame
    present = set(frame["language"])
    if missing := sorted(set(languages) - present):
        raise InputError(f"{path}: no questions in {missing}, found {sorted(present)}")
    return frame[frame["language"].isin(languages)]


if __name__ == "__main__":
    program(main)
