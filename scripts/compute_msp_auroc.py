"""Compute how well confidence tells right answers from wrong ones, paper 2's main tables.

A cell is one (data set, model, phrasing). Accuracy and AUROC are unweighted means over cells.
`k/n` counts the cells whose Mann-Whitney p is below the significance level, without a correction
for their number. Writes the tables auroc, mann_whitney, cells, datasets and one_sample (the data
sets' AUROCs of a model against 0.5), each with LaTeX and a sidecar.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from multical import records
from multical.errors import program
from multical.figures import latex, msp_tables, outputs
from multical.figures.params import AurocTables
from multical.metrics import correctness, definitions

#: The methods whose cells count in the accuracy of a data set, as in the authors' code
WEIGHED = ("msp", "maxlogit")


def main() -> None:
    args = outputs.arguments(__doc__, AurocTables, ["records"], outputs.TABLE)
    cells = cell_table(records.read(args.records), args.params)
    auroc = auroc_table(cells, args.params)
    tables = {
        "auroc": (auroc, print_auroc(auroc, args.params)),
        "mann_whitney": mann_whitney_table(cells),
        "cells": (cells.drop(columns="file"), print_cells(cells)),
        "datasets": dataset_table(cells, args.params),
        "one_sample": one_sample_table(cells),
    }
    for name, (table, printed) in tables.items():
        msp_tables.write_table(args, name, table, printed)


def cell_table(frame: pd.DataFrame, params: AurocTables) -> pd.DataFrame:
    """One row per cell and method, with n, accuracy, auroc, u and p."""
    rows = []
    for method in params.methods:
        for keys, part in msp_tables.answer_groups(frame, params, method, by_prompt=True):
            readout = msp_tables.readout(part, method)
            u, p = correctness.mann_whitney(readout)
            rows.append(keys | {
                "method": method,
                "n": len(part),
                "accuracy": float(definitions.accuracy(readout)[0]),
                "auroc": float(definitions.auroc(readout)[0]),
                "u": u,
                "p": p,
            })  # fmt: skip
    return pd.DataFrame(rows)


def auroc_table(cells: pd.DataFrame, params: AurocTables) -> pd.DataFrame:
    """Accuracy, AUROCs and significant cells (k/n) of each data set and model, and of `all`.

    Accuracy is that of the MSP's answers. An undefined AUROC makes the mean undefined.
    """
    everything = pd.concat([cells.assign(dataset=msp_tables.ALL), cells])
    rows = []
    for (dataset, model), part in everything.groupby(["dataset", "model"], sort=False):
        row = {"dataset": dataset, "model": model}
        for method in params.methods:
            chosen = part[part["method"] == method]
            if method == "msp":
                row["accuracy"] = chosen["accuracy"].mean()
            present = len(chosen) > 0
            row[f"{method}_auroc"] = chosen["auroc"].mean(skipna=False) if present else np.nan
            hits = int((chosen["p"] < params.significance).sum())
            row[f"{method}_significant"] = f"{hits}/{len(chosen)}" if present else None
        rows.append(row)
    return msp_tables.in_order(pd.DataFrame(rows), params)


def print_auroc(table: pd.DataFrame, params: AurocTables) -> pd.DataFrame:
    per_cent = latex.rounded(1, 100)
    columns: dict[str, Any] = {
        "dataset": ("dataset", None),
        "model": ("LLM", None),
        "accuracy": ("Accuracy", per_cent),
    }
    for method in params.methods:
        name = msp_tables.METHOD_NAMES[method]
        columns[f"{method}_auroc"] = (f"{name} AUROC", per_cent)
        columns[f"{method}_significant"] = (f"{name} significant", None)
    return latex.printed(table, columns)


def mann_whitney_table(cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """U and p per cell and value, with models named as in the files."""
    values = {name: value for name, (_, value) in msp_tables.METHODS.items()}
    table = pd.DataFrame({
        "dataset": cells["dataset"],
        "model": cells["file"],
        "prompt": cells["prompt"],
        "value": cells["method"].map(values),
        "u": cells["u"],
        "p": cells["p"],
    })  # fmt: skip
    return table, latex.printed(table, {
        "dataset": ("dataset", None),
        "model": ("Model", None),
        "prompt": ("Prompt", None),
        "value": ("Value", None),
        "u": ("U", latex.rounded(1)),
        "p": ("p", "{:.2e}".format),
    })  # fmt: skip


def print_cells(cells: pd.DataFrame) -> pd.DataFrame:
    per_cent = latex.rounded(1, 100)
    return latex.printed(cells, {
        "dataset": ("dataset", None),
        "model": ("LLM", None),
        "prompt": ("Prompt", None),
        "method": ("Method", None),
        "n": ("n", None),
        "accuracy": ("Accuracy", per_cent),
        "auroc": ("AUROC", per_cent),
    })  # fmt: skip


def dataset_table(cells: pd.DataFrame, params: AurocTables) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Means over the models' cells per data set.

    Accuracy counts the cells of MSP and of Max Logit, as in the authors' code. A model with both
    therefore counts twice.
    """
    methods = params.methods
    rows = []
    for dataset, part in cells.groupby("dataset", sort=False):
        by_method = part.groupby("method")["auroc"].mean(skipna=False)
        rows.append({
            "dataset": dataset,
            "questions": int(part["n"].max()),
            "accuracy": part[part["method"].isin(WEIGHED)]["accuracy"].mean(),
            **{f"{name}_auroc": by_method.get(name, np.nan) for name in methods},
        })  # fmt: skip
    table = msp_tables.in_order(pd.DataFrame(rows), params)
    named = table.assign(dataset=table["dataset"].map(params.dataset_names))
    per_cent = latex.rounded(1, 100)
    return table, latex.printed(named, {
        "dataset": ("Data set", None),
        "questions": ("Questions", None),
        "accuracy": ("Accuracy", per_cent),
        **{f"{m}_auroc": (f"{msp_tables.METHOD_NAMES[m]} AUROC", per_cent) for m in methods},
    })  # fmt: skip


def one_sample_table(cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tests per model, phrasing and method of whether the data sets' AUROCs are above 0.5."""
    rows = []
    for (model, prompt, method), part in cells.groupby(["model", "prompt", "method"], sort=False):
        result = correctness.one_sample(part["auroc"].to_list())
        rows.append({
            "model": model,
            "prompt": prompt,
            "method": method,
            "test": result.test,
            "statistic": result.statistic,
            "p": result.p,
            "normality_p": result.normality_p,
            "mean": part["auroc"].mean(skipna=False),
            "n": len(part),
        })  # fmt: skip
    table = pd.DataFrame(rows)
    return table, latex.printed(table, {
        "model": ("LLM", None),
        "prompt": ("Prompt", None),
        "method": ("Method", None),
        "test": ("Test", None),
        "statistic": ("Statistic", latex.rounded(2)),
        "p": ("p", latex.rounded(5)),
        "mean": ("Mean AUROC", latex.rounded(1, 100)),
    })  # fmt: skip


if __name__ == "__main__":
    program(main)
