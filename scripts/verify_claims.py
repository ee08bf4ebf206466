"""Compute the verdicts on the studies' claims from one study's own tables and records.

A verdict is `reproduced`, `not reproduced`, or `not testable here`, with
the reason: the study lacks what the claim needs. Same inputs give the same bytes, but for
the seconds. A claim on studies of another kind has the verdict of a study inside of this one that
is of that kind (--parts), where there is one. What is expected is compared by
check_verdicts.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from multical import files
from multical.claims import changes, msp, report
from multical.claims.judge import Found, NotTestableError, judged, not_testable
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
from multical.params import command_line
from multical.provenance import sidecar


def main() -> None:
    started = time.monotonic()
    outputs = {"json": "all", "markdown": "the table", "page": "HTML", "sidecar": "JSON"}
    outputs = {name: f"output: {content}" for name, content in outputs.items()}
    parser = command_line(__doc__, AnyClaims, **outputs)
    parser.add_argument("--records", nargs="+", required=True, metavar="PARQUET")
    parser.add_argument("--tables", nargs="*", default=[], metavar="CSV", help="the evidence")
    parser.add_argument("--parts", nargs="*", default=[], metavar="JSON", help="their verdicts")
    parser.add_argument("--code", required=True, help="fingerprint of the code, for the sidecar")
    parser.add_argument("--processes", type=int, default=1, help="that share many rows")
    args = parser.parse_args()
    params = args.params.root
    tables = {Path(path).name: path for path in args.tables}
    inside = [report.read(path) for path in args.parts]
    document = verify(params, args.records, tables, args.processes, inside)
    # All are ready before one is written.
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
        inputs=[*args.records, *args.tables, *args.parts],
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
    inside: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The document of a study: what it is, and each claim with verdict and measurements."""
    statistic = _statistics(params, records, tables, processes)
    found = {}
    for name, claim in params.claims.items():
        if told := _told_inside(name, claim, params, inside):
            found[name] = told
            continue
        started = time.monotonic()
        outcome = _outcome(claim, params, statistic)
        told = claim.model_dump(mode="json", exclude={"parts", "tested_on"})
        seconds = round(time.monotonic() - started, 3)
        found[name] = told | outcome | {"seconds": seconds}
    return {
        "study": params.study,
        "kind": params.kind,
        "command": f"make verify STUDY={params.study.removeprefix('results/')}",
        "level": params.bootstrap.level,
        "claims": found,
    }


def _told_inside(
    name: str, claim: Claim, params: ClaimsJob, inside: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """What a study inside of this one found, of a claim on studies of its kind alone."""
    if params.kind in claim.tested_on:
        return None
    found = [one for one in inside if one["kind"] in claim.tested_on and name in one["claims"]]
    return {**found[0]["claims"][name], "study": found[0]["study"]} if found else None


Statistic = Callable[[Any], Found]


def _outcome(claim: Claim, params: ClaimsJob, statistic: Statistic) -> dict[str, Any]:
    try:
        if params.kind not in claim.tested_on:
            raise NotTestableError(
                f"{params.study} is of kind {params.kind}; this needs "
                f"{' or '.join(claim.tested_on)}"
            )
        found = [statistic(part) for part in claim.parts]
        _fine_enough(claim, found)
    except NotTestableError as reason:
        return not_testable(str(reason))
    return judged(claim, found)


def _fine_enough(claim: Claim, found: list[Found]) -> None:
    """Raise `NotTestableError` where no data could make the tests pass."""
    tests = sum(len(one.tests) for one in found)
    least = max(one.least for one in found) * (tests if claim.correction == "holm" else 1)
    if least >= claim.alpha:
        raise NotTestableError(
            f"{tests} tests on so few replicates or models can have no p under {claim.alpha:g}"
        )


def _statistics(
    params: ClaimsJob, records: list[str], tables: dict[str, str], processes: int
) -> Statistic:
    """What computes the statistic of a part, on tables and records that are read once."""
    cached: dict[str, Any] = {}

    def path(part: Part) -> str:
        name = Path(part.evidence).name
        if name not in tables:
            raise InputError(f"--tables: found {sorted(tables)}, expected {name} among them")
        return tables[name]

    def change(part: Change) -> Found:
        assert isinstance(params, MeasuredClaims)
        if not cached:
            own = params.claims.values()
            cached["scored"] = changes.read(records, own, params, processes)
            cached["summary"] = results.read(path(part), "summary")
        return changes.change(part, cached["scored"], cached["summary"], path(part), params)

    def statistic(part: Part) -> Found:
        if isinstance(part, Change):
            return change(part)
        assert isinstance(params, AnswerClaims)
        if isinstance(part, CalibrationError):
            return msp.calibration_error(part, path(part), records, params)
        if isinstance(part, Auroc):
            return msp.auroc(part, path(part), params)
        if isinstance(part, Correlation):
            return msp.correlation(part, path(part), params)
        assert isinstance(part, AbstentionGain)
        return msp.abstention_gain(part, path(part), params)

    return statistic


if __name__ == "__main__":
    program(main)
