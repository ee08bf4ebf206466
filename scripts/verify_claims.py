"""Compute the verdicts on claims from a study's own tables and records.

A verdict is `reproduced`, `contradicted`, `inconclusive`, where the data do not decide, or, with
the reason, `not testable here`, if the study lacks what the claim needs. The same inputs give the
same bytes, except for the seconds. For a claim about studies of another kind, the program takes the
verdict of a study of that kind that is part of this one (--parts), if there is one.
check_verdicts.py compares the verdicts with the expected ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from multical import files
from multical.claims import changes, msp, report
from multical.claims.judge import POWER, Measurement, NotTestableError, judged, not_testable
from multical.claims.params import AnswerClaims, AnyClaims, ClaimsJob, MeasuredClaims
from multical.claims.schema import (
    AbstentionGain,
    Auroc,
    CalibrationError,
    Change,
    Claim,
    Correlation,
    Part,
)
from multical.errors import InputError, program
from multical.figures import tables as results
from multical.files import atomic
from multical.fixity import Inputs
from multical.params import Listed, command_line
from multical.provenance import sidecar

#: What studies are about, by their kind
MEASURED = {
    **dict.fromkeys(["multilingual", "harness"], "models before and after fine-tuning"),
    "api": "models behind APIs",
    **dict.fromkeys(["released", "chat_confidence"], "the confidence of chat models"),
}


def main() -> None:
    started = time.monotonic()
    parser = command_line(
        __doc__,
        AnyClaims,
        json="output: verdicts, tests and reasons, JSON",
        markdown="output: the table, Markdown",
        page="output: the table and all tests, HTML",
        sidecar="output: provenance, JSON",
    )
    parser.add_argument(
        "--records", nargs="+", action=Listed, required=True, metavar="PARQUET",
        help="input; - for a list on the standard input",
    )  # fmt: skip
    parser.add_argument(
        "--tables", nargs="*", default=[], metavar="CSV", help="tables to test the claims on"
    )
    parser.add_argument(
        "--parts", nargs="*", default=[], metavar="JSON", help="verdicts of the study's parts"
    )
    parser.add_argument("--code", required=True, help="fingerprint of the code, for the sidecar")
    parser.add_argument(
        "--processes", type=int, default=1, help="processes that share the work if rows are many"
    )
    args = parser.parse_args()
    inputs = Inputs([*args.records, *args.tables, *args.parts])
    params = args.params.root
    tables = {Path(path).name: path for path in args.tables}
    part_studies = [report.read(path) for path in args.parts]
    document = verify(params, args.records, tables, args.processes, part_studies)
    # Prepare all outputs before writing any.
    text, page = report.markdown(document), report.page(document)
    with atomic(args.markdown) as first, atomic(args.page) as second:
        first.write_text(text, encoding="utf-8")
        second.write_text(page, encoding="utf-8")
        files.write_json(args.json, document)
    sidecar.write_sidecar(
        args.sidecar,
        study=params.study,
        target=str(args.json),
        params=params.model_dump(mode="json"),
        code=args.code,
        inputs=inputs,
        outputs=[args.json, args.markdown, args.page],
        started=started,
        seed=params.bootstrap.seed,
    )
    print(text, end="")


def verify(
    params: ClaimsJob,
    records: list[str],
    tables: dict[str, str],
    processes: int,
    part_studies: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The document on a study: its name and kind, and each claim with verdict and measurements.

    `tables` are paths by file name. `part_studies` are the documents on the studies that are
    part of this one.
    """
    statistic = _statistics(params, records, tables, processes)
    claims = {}
    for name, claim in params.claims.items():
        if verdict := _verdict_of_part(name, claim, params, part_studies):
            claims[name] = verdict
            continue
        started = time.monotonic()
        outcome = _outcome(claim, params, statistic)
        entry = claim.model_dump(mode="json", exclude={"parts", "tested_on"})
        seconds = round(time.monotonic() - started, 3)
        claims[name] = entry | outcome | {"seconds": seconds}
    return {
        "study": params.study,
        "kind": params.kind,
        "command": f"make verify STUDY={params.study.removeprefix('results/')}",
        "level": params.bootstrap.level,
        "power": POWER,
        "claims": claims,
    }


def _verdict_of_part(
    name: str, claim: Claim, params: ClaimsJob, part_studies: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """A claim's entry from the first part study that can test it, unless the study itself can."""
    if params.kind in claim.tested_on:
        return None
    for part in part_studies:
        if part["kind"] in claim.tested_on and name in part["claims"]:
            return {**part["claims"][name], "study": part["study"]}
    return None


Statistic = Callable[[Any, float], Measurement]


def _outcome(claim: Claim, params: ClaimsJob, statistic: Statistic) -> dict[str, Any]:
    try:
        if params.kind not in claim.tested_on:
            wanted = " or ".join(dict.fromkeys(MEASURED[kind] for kind in claim.tested_on))
            raise NotTestableError(
                f"the claim is about {wanted}, and {params.study} is about {MEASURED[params.kind]}"
            )
        measurements = [statistic(part, claim.alpha) for part in claim.parts]
        _check_power(claim, measurements)
    except NotTestableError as reason:
        return not_testable(str(reason))
    return judged(claim, measurements)


def _check_power(claim: Claim, measurements: list[Measurement]) -> None:
    """Raise `NotTestableError` if the tests could not pass on any data."""
    tests = sum(len(measurement.tests) for measurement in measurements)
    least = max(measurement.least for measurement in measurements)
    least *= tests if claim.correction == "holm" else 1
    if least >= claim.alpha:
        raise NotTestableError(
            "too few models or bootstrap replicates: whatever the data, its p can be no less than "
            f"{min(least, 1):.2g} here, and only a p under {claim.alpha:g} counts"
        )


def _statistics(
    params: ClaimsJob, records: list[str], tables: dict[str, str], processes: int
) -> Statistic:
    """A function that computes the statistic of a part of a claim, tested at a level.

    It reads the records that changes are computed from only once.
    """
    cached: dict[str, Any] = {}

    def path(part: Part) -> str:
        name = Path(part.evidence).name
        if name not in tables:
            raise InputError(f"--tables: found {sorted(tables)}, expected {name} among them")
        return tables[name]

    def change(part: Change, alpha: float) -> Measurement:
        assert isinstance(params, MeasuredClaims)
        if not cached:
            claims = params.claims.values()
            cached["scored"] = changes.read(records, claims, params, processes)
            cached["summary"] = results.read(path(part), "summary")
        scored, summary = cached["scored"], cached["summary"]
        return changes.change(part, scored, summary, path(part), params, alpha)

    def statistic(part: Part, alpha: float) -> Measurement:
        if isinstance(part, Change):
            return change(part, alpha)
        assert isinstance(params, AnswerClaims)
        if isinstance(part, CalibrationError):
            return msp.calibration_error(part, path(part), records, params, alpha)
        if isinstance(part, Auroc):
            return msp.auroc(part, path(part), params, alpha)
        if isinstance(part, Correlation):
            return msp.correlation(part, path(part), params, alpha)
        assert isinstance(part, AbstentionGain)
        return msp.abstention_gain(part, path(part), params, alpha)

    return statistic


if __name__ == "__main__":
    program(main)
