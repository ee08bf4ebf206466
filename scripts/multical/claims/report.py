"""The verdicts as a table in Markdown, and as a page of the report."""

from __future__ import annotations

import json
import re
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

from multical.claims.schema import UNDECIDED, VERDICTS
from multical.errors import InputError
from multical.provenance import sidecar

TESTS = [
    "Test of", "Value", "p for the claim", "p for it, corrected", "p against it",
    "p against it, corrected", "Could have shown",
]  # fmt: skip
VARIANTS = ["By another choice", "Value", "Largest p", "The claim"]
#: What tests and corrections are called, by their keys in claims.yaml
TEST_NAMES = {
    "paired_bootstrap": "a bootstrap over questions (with several seeds, a t-test over questions "
    "and trainings)",
    "wild_cluster_bootstrap": "a wild cluster bootstrap over questions",
    "mann_whitney": "Mann and Whitney's test of ranks",
    "fisher_z": "Fisher's test of a correlation",
    "wilcoxon": "Wilcoxon's test of signed ranks over models",
}
CORRECTIONS = {
    "holm": "are corrected for the number of tests (Holm)",
    "intersection_union": "then need no correction",
    "none": "are not corrected for the number of tests",
}
OTHERWISE = (
    "The same data by other choices, each corrected by itself. The verdict does not rest on them."
)
COLUMNS = ["Claim", "The paper says", "We measure", "Verdict", "Evidence", "Command", "Time"]
LIMITS = {"above": "above {:g}", "below": "below {:g}", "absent": "within \u00b1{:g}"}
#: Of a test with the power that `judge.POWER` says
SHOWN = {"above": "{} or more", "below": "{} or less", "absent": "\u00b1{}"}
#: Statistics that are differences, whose values have a sign
SIGNED = ("change", "abstention_gain")
#: Most tests that are named where a part is undecided
MOST = 6
#: Verdicts differ in words and marks, not only in colour. Blue and vermilion suit colour-blind
#: readers.
STYLE = """
body { font: 15px/1.4 sans-serif; margin: 1.5em; color: #222; max-width: 90em }
table { border-collapse: collapse; margin: 1em 0 }
td, th { border: 1px solid #bbb; padding: .4em .6em; text-align: left; vertical-align: top }
th { background: #eee }
td { font-variant-numeric: tabular-nums }
td div + div { margin-top: .6em }
h2 { font-size: 1.1em; margin: 2em 0 0 }
.claims td:nth-child(1), .claims td:nth-child(4) { font-weight: bold }
.claims td:nth-child(2) { min-width: 12em }
.claims td:nth-child(3) { min-width: 18em }
.claims td:nth-child(4) { border-left: .4em solid }
.claims td:nth-child(7) { white-space: nowrap }
.reproduced { color: #0072b2 }
.contradicted { color: #b34700 }
.inconclusive { color: #6a3d9a }
.not-testable-here { color: #555 }
.reproduced div::before { content: "\\2713\\a0" }
.contradicted div::before { content: "\\2717\\a0" }
.inconclusive div::before { content: "?\\a0" }
.not-testable-here div::before { content: "\\2013\\a0" }
"""


def read(path: str) -> dict[str, Any]:
    """Read the document that verify_claims.py wrote.

    Raises `InputError` unless its SHA-256 is the one in the sidecar beside it.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(document, dict) or not {"study", "kind", "claims"} <= document.keys():
        raise InputError(f"{path}: expected the verdicts of a study, with study, kind and claims")
    sidecar.check(Path(path).with_name("provenance.json"))
    return document


def markdown(document: dict[str, Any]) -> str:
    """The table of a study's claims."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
    for row in _rows(document):
        cells = ["<br>".join(_piped(line) for line in cell) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def page(document: dict[str, Any]) -> str:
    """The table, and below it every test of every claim, as one HTML file."""
    title = f"Claims, as tested on {document['study']}"
    lines = [
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(counted(document))}</p>",
        _table("claims", COLUMNS, _rows(document)),
        f"<p>{escape(note(document))}</p>",
    ]
    for name, claim in document["claims"].items():
        for part in claim["parts"]:
            lines.append(f"<h2>{escape(name)}: {escape(part['said'])}</h2>")
            lines.append(f"<p>{escape(judgement(claim, part))}</p>")
            lines.append(_table("tests", TESTS, [test_row(part, test) for test in part["tests"]]))
            if part["variants"]:
                lines.append(f"<p>{escape(OTHERWISE)}</p>")
                rows = [variant_row(part, variant) for variant in part["variants"]]
                lines.append(_table("variants", VARIANTS, rows))
    return "\n".join([*lines, "</body>", "</html>", ""])


def counted(document: dict[str, Any]) -> str:
    """How many claims have each verdict, and which; first those on the study itself."""
    studies: dict[str, dict[str, list[str]]] = {}
    for name, claim in document["claims"].items():
        own = studies.setdefault(claim.get("study", document["study"]), {})
        own.setdefault(claim["verdict"], []).append(name)
    told = {
        study: ", ".join(
            f"{len(own[verdict])} {verdict} ({', '.join(own[verdict])})"
            for verdict in VERDICTS
            if verdict in own
        )
        for study, own in studies.items()
    }
    first = told.pop(document["study"], None)
    return "; ".join([*([first] if first else []), *(f"on {n}: {t}" for n, t in told.items())])


def note(document: dict[str, Any]) -> str:
    """What verdicts and tests mean."""
    return (
        "A claim is reproduced where all its parts hold, contradicted where tests find the "
        "contrary of a part, and otherwise inconclusive. Claims are the papers'; metrics, "
        "thresholds, corrections and shares are our own reading of their words (claims.yaml). A "
        "small p for a claim speaks for it, a small p against it for the contrary. What "
        "a test could have shown is the value that it finds, if it is the only one, with a chance "
        f"of {document['power']:.0%}. A test of several seeds covers other trainings, a test "
        "of one seed takes the training as it is. Languages with a significant change are counted "
        "after Holm's correction for the languages of the test. Intervals are of level "
        f"{document['level']:g}. Time is that of computing the verdict."
    )


def _rows(document: dict[str, Any]) -> list[list[list[str]]]:
    """A row for each claim: its cells, each a list of lines."""
    rows = []
    for name, claim in document["claims"].items():
        files = dict.fromkeys(part["evidence"] for part in claim["parts"])
        rows.append([
            [name],
            [f"{claim['says']} ({claim['source']})"],
            [measured(claim, part) for part in claim["parts"]] or [claim["reason"]],
            [claim["verdict"]],
            [f"{claim.get('study', document['study'])}/{file}" for file in files] or ["none"],
            [document["command"]],
            [f"{claim['seconds']:.1f} s"],
        ])  # fmt: skip
    return rows


def result(claim: dict[str, Any], part: dict[str, Any]) -> str:
    """What was measured of a part of a claim, against what was claimed, and what leaves it open."""
    limit = LIMITS[part["direction"]].format(part["threshold"])
    said = f"{part['said']}: {_value(part, part)}, claimed {limit}: {part['status']}"
    return said + (_undecided(claim, part) if part["status"] == UNDECIDED else "")


def _undecided(claim: dict[str, Any], part: dict[str, Any]) -> str:
    """The tests that do not pass, which leave a part undecided; none if it has one test alone."""
    if len(part["tests"]) == 1:
        return ""
    names = [test["of"] for test in part["tests"] if test["p_adjusted"] >= claim["alpha"]]
    more = f" and {len(names) - MOST} more" if len(names) > MOST + 1 else ""
    return f" for {'; '.join(names[: MOST if more else None])}{more}"


def measured(claim: dict[str, Any], part: dict[str, Any]) -> str:
    """The result of a part, with how many tests pass and what they could have shown."""
    told = [f"{part['passed']} of {len(part['tests'])} tests pass"]
    if part["detectable"] is not None:
        told.append(f"could have shown {_shown(part, part['detectable'])}")
    if part["detail"]:
        told.append(part["detail"])
    if part["variants"]:
        counts = Counter(variant["status"] for variant in part["variants"])
        statuses = ", ".join(f"{status} {n}" for status, n in counts.items())
        told.append(f"other choices: {statuses}")
    return f"{result(claim, part)} ({'; '.join(told)})"


def judgement(claim: dict[str, Any], part: dict[str, Any]) -> str:
    """What was measured, and by which test."""
    return (
        f"{measured(claim, part)}. Tested by {TEST_NAMES[part['test']]}, at the level "
        f"{claim['alpha']:g}: {part['share']:.0%} of the tests must pass; p-values for the claim "
        f"{CORRECTIONS[claim['correction']]}.{_keys(part)}"
    )


def _keys(part: dict[str, Any]) -> str:
    """What metric and readout of a change are called in files and config."""
    keys = [f"{name} {part[name]}" for name in ("metric", "readout") if name in part]
    return f" In files: {', '.join(keys)}." if keys else ""


def test_row(part: dict[str, Any], test: dict[str, Any]) -> list[list[str]]:
    """The cells of a test, under `TESTS`."""
    names = ("p", "p_adjusted", "p_against", "p_against_adjusted")
    least = test["detectable"]
    return [
        [test["of"]],
        [_value(part, test)],
        *([f"{test[name]:.2g}"] for name in names),
        ["" if least is None else _shown(part, least)],
    ]


def variant_row(part: dict[str, Any], variant: dict[str, Any]) -> list[list[str]]:
    """The cells of another choice, under `VARIANTS`."""
    value = _number(part, variant["value"])
    return [[variant["of"]], [value], [f"{variant['p']:.2g}"], [variant["status"]]]


def _value(part: dict[str, Any], statistic: dict[str, Any]) -> str:
    """The value of a part or of one of its tests, with its interval if it has one."""
    numbers = (statistic[key] for key in ("value", "low", "high"))
    value, low, high = (None if x is None else _number(part, x) for x in numbers)
    return f"{value}" if low is None or high is None else f"{value} [{low}, {high}]"


def _shown(part: dict[str, Any], least: float) -> str:
    """What a part or one of its tests could have shown."""
    number = f"{least:.3f}" if part["direction"] == "absent" else _number(part, least)
    return SHOWN[part["direction"]].format(number)


def _number(part: dict[str, Any], value: float) -> str:
    """A value of the statistic of a part."""
    return f"{value:+.3f}" if part["statistic"] in SIGNED else f"{value:.3f}"


def _table(name: str, titles: list[str], rows: list[list[list[str]]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows]
    return "\n".join([f'<table class="{name}">\n<tr>{head}</tr>', *body, "</table>"])


def _cell(lines: list[str]) -> str:
    kind = f' class="{lines[0].replace(" ", "-")}"' if lines[0] in VERDICTS else ""
    escaped = (escape(line).replace("/", "/<wbr>") for line in lines)  # a path breaks at folders
    return f"<td{kind}>" + "".join(f"<div>{line}</div>" for line in escaped) + "</td>"


def _piped(text: str) -> str:
    """Text for a cell of Markdown, in which `<` before a name or a slash would begin a tag."""
    return re.sub(r"\||<(?=[A-Za-z/!?])", r"\\\g<0>", text)
