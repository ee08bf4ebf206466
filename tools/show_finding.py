"""Print where a study's report and main figure are, and what it finds, in three lines.

The numbers are those of the study's tables, and the verdicts those of its claims.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pandas as pd

import _path  # noqa: F401  finds multical
from multical import paths
from multical.claims import report
from multical.config import files
from multical.config.schema import Config
from multical.errors import InputError, program
from multical.figures import msp_tables, tables
from multical.figures.params import Conditions
from multical.workflow import job_params, msp_params

METRICS = {"confidence": "confidence", "accuracy": "accuracy", "ece": "ECE"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", required=True, metavar="ROOT", help="such as results/demo")
    root = parser.parse_args().study
    config = files.load()
    if root not in config.studies:
        raise InputError(f"{root}: no such study, expected one of {list(config.studies)}")
    answered = isinstance(config.studies[root], msp_params.Paper2)
    name, finding = ("accuracy_vs_auroc", answers) if answered else ("ece_by_lang", changes)
    print(f"Report: {paths.REPORT.format(root=root)}")
    print(f"Figure: {paths.FIGURE.format(root=root, panel='', name=f'{name}.pdf')}")
    print(*finding(config, root), claims(root), sep="\n")


def changes(config: Config, root: str) -> Iterator[str]:
    """What SFT changes, and what smoothing changes, for each model."""
    params = job_params.figure(config, root, Conditions)
    tables.need_tuned(params)
    base, plain, smoothed = conditions = tables.conditions(params)
    rows = tables.chosen(
        paths.SUMMARY.format(root=root), "summary", params, conditions, group="non-english",
        metric=list(METRICS),
    )  # fmt: skip
    means = rows.set_index(["condition", "metric", "model"])["value"]
    models, languages = tables.models(rows), rows["languages"].max()

    def change(before: float | None, after: float | None) -> str:
        shifts = means[tables.label(after)] - means[tables.label(before)]
        return ", ".join(
            f"{name} " + " and ".join(f"{shifts[metric, model]:+.3f}" for model in models)
            for metric, name in METRICS.items()
        )

    yield (
        f"SFT of {' and '.join(models)} changes {change(base, plain)} "
        f"(means over {languages:.0f} languages other than English)."
    )
    yield f"Smoothing {smoothed:g} in place of none changes {change(plain, smoothed)}."


def answers(config: Config, root: str) -> Iterator[str]:
    """How well the maximum softmax probability (MSP) is calibrated, and what it tells."""
    error = msp_params.calibration_figure(config, root, "").error
    points = read(root, "points", ["dataset", "prompt", "model", "msp_auroc", error])
    points = points[points["prompt"].isna()]
    found = read(root, "correlations", ["dataset", "prompt", "x", "y", "r", "p"])
    found = found[found["prompt"].isna() & (found["x"] == "accuracy")].set_index("y")
    numbers = {"AUROC": "msp_auroc", "calibration error": error}
    yield f"Maximum softmax probabilities of {len(points)} models: " + ", ".join(
        f"{name} {points[column].mean():.3f} ({points[column].min():.3f} to "
        f"{points[column].max():.3f})"
        for name, column in numbers.items()
    )
    yield "Correlation with accuracy across models: " + ", ".join(
        f"{name} r = {found['r'][column]:.2f} (p = {found['p'][column]:.2g})"
        for name, column in numbers.items()
    )


def read(root: str, name: str, columns: list[str]) -> pd.DataFrame:
    """The rows of a table of paper 2 on all data sets together."""
    path = paths.STUDY_TABLE.format(root=root, name=f"{name}.csv")
    table = msp_tables.read_table(path, columns)
    return table[table["dataset"] == msp_tables.ALL]


def claims(root: str) -> str:
    """The claims by verdict."""
    names: dict[str, list[str]] = {}
    for name, claim in report.read(paths.VERDICTS.format(root=root))["claims"].items():
        names.setdefault(claim["verdict"], []).append(name)
    return "Claims: " + "; ".join(f"{', '.join(some)} {verdict}" for verdict, some in names.items())


if __name__ == "__main__":
    program(main)
