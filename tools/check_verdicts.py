"""Print a study's verdicts on the claims, and fail unless they are the expected ones.

The YAML file of expected verdicts has a verdict on each claim for some studies. The verdicts of
other studies are printed, but not compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

import _path  # noqa: F401  finds multical
from multical.claims import report
from multical.claims.schema import load_expected
from multical.errors import InputError, program


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--verdicts", required=True, metavar="JSON", help="verdicts that verify_claims.py wrote"
    )
    parser.add_argument("--expected", required=True, metavar="YAML", help="expected verdicts")
    args = parser.parse_args()
    document = report.read(args.verdicts)
    expected = load_expected(args.expected).of(document["study"])
    print(report.markdown(document), end="", flush=True)
    if expected is None:
        reason = f"{args.expected} has none of {document['study']}"
        print(f"nothing was compared: {reason}", file=sys.stderr)
        return
    verdicts = {name: claim["verdict"] for name, claim in document["claims"].items()}
    compare(verdicts, expected, f"{args.expected}: {document['study']}")
    print(f"all {len(verdicts)} verdicts are the expected ones", file=sys.stderr)


def compare(verdicts: dict[str, str], expected: Mapping[str, Sequence[str]], place: str) -> None:
    """Raise `InputError` unless there is an expected verdict on each claim, and it is found."""
    if verdicts.keys() != expected.keys():
        names = f"found verdicts on {sorted(expected)}, expected {sorted(verdicts)}"
        raise InputError(f"{place}: {names}")
    wrong = [
        f"{name} is {verdict!r}, expected {' or '.join(map(repr, expected[name]))}"
        for name, verdict in verdicts.items()
        if verdict not in expected[name]
    ]
    if wrong:
        raise InputError(f"{place}: {'; '.join(wrong)}")


if __name__ == "__main__":
    program(main)
