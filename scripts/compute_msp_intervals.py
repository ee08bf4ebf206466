"""Compute percentile bootstrap intervals of paper 2's accuracies and AUROCs.

The questions of a data set are drawn with replacement, each in both phrasings and of all
models. A row with an empty `prompt` is the mean over the phrasings, and with `dataset` =
`all` over the data sets too, whose draws are independent. Writes the table intervals.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from multical import records
from multical.errors import program
from multical.figures import latex, msp_tables, outputs
from multical.figures.params import IntervalTable
from multical.metrics import bootstrap
from multical.metrics.definitions import METRICS
from multical.metrics.readouts import Floats

MEASURES = ("accuracy", "auroc")


def main() -> None:
    threads = {"type": int, "default": 1, "help": "cells computed at a time"}
    args = outputs.arguments(__doc__, IntervalTable, ["records"], outputs.TABLE, threads=threads)
    params: IntervalTable = args.params
    drawn = params.bootstrap
    frame = records.read(args.records)
    cells = [
        (keys | {"method": method}, part)
        for method in params.methods
        for keys, part in msp_tables.parts(frame, params, method, by_prompt=True)
    ]
    asked: dict[str, set[str]] = {item.id: set() for item in params.datasets}
    for keys, part in cells:
        asked[keys["dataset"]].update(msp_tables.questions(part))
    draws = {
        dataset: bootstrap.Bootstrap(sorted(ids), drawn.replicates, drawn.seed + place)
        for place, (dataset, ids) in enumerate(asked.items())
    }

    def values(cell: tuple[dict[str, str], pd.DataFrame]) -> dict[str, Floats]:
        """Estimate and replicates (1 + B,) of each measure in one cell."""
        keys, part = cell
        readout = msp_tables.readout(part, keys["method"])
        counts = draws[keys["dataset"]].counts(msp_tables.questions(part).to_list())
        whole = np.ones((1, len(part)), counts.dtype)
        return {
            name: np.concatenate([METRICS[name](readout, c, 1) for c in (whole, counts)])
            for name in MEASURES
        }

    with ThreadPoolExecutor(args.threads) as pool:
        found = [
            {"measure": name, **keys, "values": value}
            for (keys, _), measures in zip(cells, pool.map(values, cells), strict=True)
            for name, value in measures.items()
        ]
    table = interval_table(pd.DataFrame(found), params)
    printed = print_table(table, params)
    msp_tables.write_table(args, "intervals", table, printed, drawn.seed)


def interval_table(cells: pd.DataFrame, params: IntervalTable) -> pd.DataFrame:
    """Value and interval of each cell, of their means over phrasings, and over everything."""
    pooled = cells.assign(prompt="")
    everything = pd.concat([pooled.assign(dataset=msp_tables.ALL), pooled, cells])
    rows = []
    by = ["dataset", "model", "method", "measure", "prompt"]
    for keys, part in everything.groupby(by, sort=False):
        mean = np.mean(np.stack(part["values"].to_list()), axis=0)
        low, high = bootstrap.interval(mean[1:], params.bootstrap.level)
        rows.append((*keys, mean[0], float(low), float(high)))
    return msp_tables.in_order(
        pd.DataFrame(rows, columns=[*by, "value", "ci_low", "ci_high"]), params
    )


def print_table(table: pd.DataFrame, params: IntervalTable) -> pd.DataFrame:
    """Per data set and model: accuracy and the AUROCs, with their intervals."""
    number = latex.rounded(1, 100)
    titles = {("msp", "accuracy"): "Accuracy"} | {
        (method, "auroc"): f"{msp_tables.METHOD_NAMES[method]} AUROC" for method in params.methods
    }
    means = table[table["prompt"] == ""]
    long = pd.DataFrame({
        "dataset": means["dataset"],
        "model": means["model"],
        "column": [titles.get(key) for key in zip(means["method"], means["measure"], strict=True)],
        "text": [f"{number(r.value)} [{number(r.ci_low)}, {number(r.ci_high)}]"
                 for r in means.itertuples()],
    }).dropna()  # fmt: skip
    wide = long.pivot(index=["dataset", "model"], columns="column", values="text").reindex(
        index=pd.MultiIndex.from_frame(long[["dataset", "model"]].drop_duplicates()),
        columns=list(titles.values()),
    )
    return wide.fillna("--").reset_index().rename(columns={"model": "LLM"})


if __name__ == "__main__":
    program(main)
