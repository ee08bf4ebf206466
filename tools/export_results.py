"""Export a study's records and metrics in forms that other tools read.

Run it in the folder that holds the Snakefile. The study must be up to date. The new folder has
the results in the schema of Every Eval Ever (data/), and the records as sample logs of
lm-evaluation-harness (lm_eval/), which import_harness.py reads back. The texts of questions that
only their owners may hand on are left out, and with them the logs of option texts; --share NAME
takes those of the benchmark NAME along. The same study gives the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import _path  # noqa: F401  finds multical
from multical.bundle import every_eval_ever, exports, harness_samples, unbundling
from multical.errors import InputError, program
from multical.files import atomic


def main() -> None:
    args = arguments()
    unbundling.finish()
    output = args.output or Path(f"multical-{Path(args.study).name}-export")
    if output.exists():
        raise InputError(f"{output}: exists already, expected a new folder for the export")
    export = exports.collect(args.study, args.share)
    results = samples = logs = 0
    with atomic(output) as temporary:
        for part in export.parts():
            more = every_eval_ever.write(export, part, temporary, args.organization)
            results, samples = results + more[0], samples + more[1]
            logs += harness_samples.write(part, temporary / "lm_eval")
    print(f"{output}: {len(export.files)} runs on benchmarks of {args.study}")
    print(f"data/: {results} results and {samples} samples in the schema of Every Eval Ever")
    print(f"lm_eval/: {logs} sample logs of lm-evaluation-harness")
    if undefined := len(export.metrics) - results:
        print(f"without {undefined} metrics that are not defined, or infinite")
    for name in sorted({file.benchmark for file in export.files if file.asked is None}):
        print(f"without the texts of {name} (--share {name}, if you may hand them on)")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", required=True, metavar="ROOT", help="such as results/demo")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="else multical-STUDY-export, which must be new",
    )
    parser.add_argument(
        "--share", action="append", default=[], metavar="NAME", help="data that you may hand on"
    )
    parser.add_argument(
        "--organization", default="unknown", metavar="NAME", help="who ran the study (%(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    program(main)
