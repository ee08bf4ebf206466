"""Compute percentile bootstrap intervals of paper 2's accuracies and AUROCs.

The questions of a data set are drawn with replacement, each with both phrasings and all models.
A row with an empty `prompt` is the mean over the phrasings. With `dataset` = `all` it is the mean
over the data sets too, whose draws are independent. Writes the table intervals.
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
    threads = {"type": int, "default": 1, "help": "number of cells computed at a time"}
    args = outputs.arguments(__doc__, IntervalTable, ["records"], outputs.TABLE, threads=threads)
    params: IntervalTable = args.params
    settings = params.bootstrap
    frame = records.read(args.records)
    cells = [
        (keys | {"method": method}, part)
        for method in params.methods
        for keys, part in msp_tables.answer_groups(frame, params, method, by_prompt=True)
    ]
    questions: dict[str, set[str]] = {item.id: set() for item in params.datasets}
    for keys, part in cells:
        questions[keys["dataset"]].update(msp_tables.questions(part))
    draws = {
        dataset: bootstrap.Bootstrap(sorted(ids), settings.replicates, settings.seed + place)
        for place, (dataset, ids) in enumerate(questions.items())
    }

    def values(cell: tuple[dict[str, str], pd.DataFrame]) -> dict[str, Floats]:
        """(1 + B,) estimate and replicates of each measure in one cell."""
        keys, part = cell
        readout = msp_tables.readout(part, keys["method"])
        counts = draws[keys["dataset"]].counts(msp_tables.questions(part).to_list())
        ones = np.ones((1, len(part)), counts.dtype)
        return {
            name: np.concatenate([METRICS[name](readout, c, 1) for c in (ones, counts)])
            for name in MEASURES
        }

    with ThreadPoolExecutor(args.threads) as pool:
        rows = [
            {"measure": name, **keys, "values": value}
            for (keys, _), measures in zip(cells, pool.map(values, cells), strict=True)
            for name, value in measures.items()
        ]
    table = interval_table(pd.DataFrame(rows), params)
    printed = print_table(table, params)
    msp_tables.write_table(args, "intervals", table, printed, settings.seed)


def interval_table(cells: pd.DataFrame, params: IntervalTable) -> pd.DataFrame:
    """Value and interval of each cell, of means over phrasings, and of means over data sets too."""
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
    """Accuracy and AUROCs of each data set and model, with their intervals."""
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
