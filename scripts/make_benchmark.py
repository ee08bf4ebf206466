"""Make a benchmark: questions (multical.data.questions), and a report of their names.

--params is {"kind": "cldr", "seed", "kinds", "languages", "held_out",
"questions_per_language"} for the packaged facts from CLDR (multical.data.cldr);
{"kind": "global_mmlu" or "mmlu_prox", "repo", "revision", "split", "languages" (null for
all), "odd_rows"} for data sets of the hub (multical.data.hub_multilingual); {"kind": "arc",
"hellaswag", "mmlu", "truthfulqa" or "winogrande", "repo", "revision", "seed", "questions"
(null or left out for all), "odd_rows", "fewshot"} for those of study 2 (multical.data.hub_english),
of which "examples": true makes the few-shot examples; or {"kind": "file", "path"} for any
Parquet or JSON Lines file in the schema, of which an optional "languages" takes a part.
--input says where that file lies instead.
The report counts questions by language and kind (a file's subject); for the hub also the
rows left out, and for study 2 the questions with options left out; for cldr the names that
are missing, that equal the English ones, and that give an answer away. --about says what it
was made of: settings, and the SHA-256 of files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from multical import params
from multical.data import cldr, hub_english, hub_multilingual, questions
from multical.errors import InputError, program
from multical.files import atomic, sha256, write_json

NULL = type(None)
CLDR = {
    "seed": int,
    "kinds": list,
    "languages": list,
    "held_out": float,
    "questions_per_language": int,
}
FILE = {"path": str, "languages": list}
HUB: params.Kinds = {
    "repo": str,
    "revision": (str, NULL),
    "split": str,
    "languages": (list, NULL),
    "odd_rows": str,
}
CHOICE: params.Kinds = {
    "repo": str,
    "revision": (str, NULL),
    "seed": int,
    "questions": (int, NULL),
    "odd_rows": str,
    "fewshot": int,
    "examples": bool,
}


def main() -> None:
    """Write the questions, the report, and what they were made of."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", required=True, metavar="JSON", help="see above")
    parser.add_argument("--input", type=Path, help="questions to read, for kind file")
    parser.add_argument("--output", required=True, type=Path, help="questions, .parquet")
    parser.add_argument("--report", required=True, type=Path, help="counts of names, .csv")
    parser.add_argument("--about", type=Path, help="what it was made of, .json")
    args = parser.parse_args()
    wanted = params.parse(args.params)
    source, files = dict(wanted), {}
    match wanted.pop("kind", None):
        case "cldr":
            params.check(wanted, CLDR)
            frame, report = cldr.benchmark(**wanted)
        case "file":
            params.check(wanted, FILE, optional=["languages"])
            path = args.input or Path(wanted["path"])
            frame = from_file(path, wanted.get("languages"))
            files = {path.name: sha256(path)}
            counts = frame.groupby(["language", "subject"], dropna=False).size()
            report = counts.reset_index(name="questions").rename(columns={"subject": "kind"})
        case "global_mmlu" | "mmlu_prox" as kind:
            params.check(wanted, HUB)
            params.known("odd_rows", [wanted["odd_rows"]], ["error", "leave_out"])
            frame, report, files = hub_multilingual.benchmark(kind, **wanted)
        case kind if kind in hub_english.SOURCES:
            params.check(wanted, CHOICE, optional=["questions", "examples"])
            params.known("odd_rows", [wanted["odd_rows"]], ["error", "leave_out"])
            frame, report, files = hub_english.benchmark(kind, **{"questions": None, **wanted})
        case kind:
            kinds = ["cldr", "file", *hub_multilingual.READERS, *hub_english.SOURCES]
            raise InputError(f"--params: kind: {kind!r}, expected one of {kinds}")
    questions.write(args.output, frame)
    with atomic(args.report) as temporary:
        report.to_csv(temporary, index=False, lineterminator="\n")
    if args.about:
        write_json(args.about, {"source": source, "files": files, "questions": len(frame)})


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
