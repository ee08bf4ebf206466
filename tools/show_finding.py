"""Print where a study's page and main figure are, what it finds, and where that does not hold.

The sentences are those of the page: from the study's tables, and from the verdicts on claims.
"""

from __future__ import annotations

import argparse

import _path  # noqa: F401  finds multical
from multical import paths
from multical.claims import report
from multical.config import files
from multical.errors import program
from multical.page import facts, finding


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", required=True, metavar="ROOT", help="such as results/demo")
    root = parser.parse_args().study
    config = files.load()
    found = finding.find(config, root)
    figure = f"{finding.headline_figure(config, root)}.pdf"
    print(f"Page: {paths.PAGE.format(root=root)}")
    print(f"Figure: {paths.FIGURE.format(root=root, panel='', name=figure)}")
    parts = "; ".join(map(str, found.parts))
    said = [
        found.lead,
        facts.scale(config, root),
        *found.numbers,
        f"{found.unit.capitalize()}: {parts}.",
    ]
    counted = report.counted(report.read(paths.VERDICTS.format(root=root)))
    print(*said, f"Claims: {counted}.", sep="\n")


if __name__ == "__main__":
    program(main)
