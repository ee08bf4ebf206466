"""Bin confidences for reliability diagrams: per run, benchmark, group of languages, readout.

--params is a JSON object: readouts (names), bins, resource_levels {language: high,
mid or low}. The bins have equal width and are half-open, the last one closed, as
for ECE; the questions of a group's languages are pooled. Readouts that are no
probabilities have no such diagram and are left out. Empty bins have n = 0 and no
confidence or accuracy.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from multical import records
from multical.cells import RUN, Block, blocks, check_levels, groups, parameters, readings
from multical.errors import program
from multical.files import atomic
from multical.metrics import bin_sums, edges

PARAMS = {"readouts": list, "bins": int, "resource_levels": dict}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", nargs="+", required=True, metavar="PARQUET")
    parser.add_argument("--params", required=True, metavar="JSON")
    parser.add_argument("--output", required=True, metavar="CSV")
    arguments = parser.parse_args()
    params = parameters(arguments.params, PARAMS)
    table = reliability(records.read(arguments.records), params)
    with atomic(arguments.output) as temporary:
        table.astype({"seed": "Int64"}).to_csv(temporary, index=False, lineterminator="\n")


def reliability(frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
    """The table of a records frame, a row per run, benchmark, group, readout and bin."""
    check_levels(frame, params["resource_levels"])
    parts = [
        binned(block, name, params)
        for block in tqdm(list(blocks(frame)), unit="run", desc="reliability")
        for name in params["readouts"]
    ]
    columns = ["group", "readout", "bin", "low", "high", "n", "confidence", "accuracy"]
    return pd.concat([pd.DataFrame(part, columns=[*RUN, *columns]) for part in parts])


def binned(block: Block, name: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of one block and readout by group and bin."""
    bins = params["bins"]
    readouts = readings(block, name)
    if not all(readout.is_probability for readout in readouts.values()):
        return []
    sums = {
        language: np.concatenate(bin_sums(readout.confidence, readout.correct, bins=bins))
        for language, readout in readouts.items()
    }
    rows = []
    for group, languages in groups(readouts, params["resource_levels"]).items():
        total = np.sum([sums[language] for language in languages], axis=0)
        for index, (n, confidence, right) in enumerate(total.T):
            row = {"group": group, "readout": name, "bin": index, "n": int(n)}
            row |= {"low": edges(bins)[index], "high": edges(bins)[index + 1]}
            if n:
                row |= {"confidence": confidence / n, "accuracy": right / n}
            rows.append(block.keys | row)
    return rows


if __name__ == "__main__":
    program(main)
