"""Make the table of settings: how each run of a study was trained, and what it used.

The CSV has a row per base model, per trial of a learning rate and per SFT run (column role);
the LaTeX table (package booktabs) leaves the trials to a line of totals. trained_tokens are
the labels of an epoch. training_hours and scoring_hours are the wall time of the jobs, added
up, and the GPU-hours are that times the GPUs of each: 0 on CPUs. What measuring held-out
losses took is not counted. held_out_loss is that of a trial, and of the run that adopted it.

A run that adopted a trial was not trained again. What its training took stands in the row of
the trial alone, so that sums are right; its own cells are empty.

The files to read follow from the parameters, as seen from the working folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from multical.errors import program
from multical.figures import latex, outputs, settings_table
from multical.figures.params import SettingsTable
from multical.figures.settings_table import Row

#: Settings that the runs of a study share, with their names in print.
SHARED = {
    "batch_size": "batch",
    "epochs": "epochs",
    "max_length": "max. length",
    "warmup_ratio": "warm-up",
    "weight_decay": "weight decay",
    "precision": "precision",
    "sharding": "sharding",
    "processes": "processes",
    "tried": "learning rates tried",
}


def main() -> None:
    args = outputs.arguments(__doc__, SettingsTable, [], outputs.TABLE)
    args.inputs = settings_table.files(args.params)
    rows = settings_table.rows(args.params)
    table = pd.DataFrame(rows, columns=settings_table.COLUMNS, dtype=object)
    latex.write(args, table, tabular(rows))


def tabular(rows: Sequence[Row]) -> str:
    """A line per base model and SFT run; below, what there is to say of all."""
    work = "GPU-h" if any(total(rows, f"{x}_gpu_hours") for x in ("training", "scoring")) else "h"
    unit = "_gpu_hours" if work == "GPU-h" else "_hours"
    table = pd.DataFrame(
        {
            "model": [row["model"] for row in rows],
            "SFT": [row["sft"] or "base" for row in rows],
            "b": [number(row["smoothing"], "g") for row in rows],
            "seed": [number(row["seed"], "d") for row in rows],
            "LR": [number(row["learning_rate"], "g") for row in rows],
            "held-out loss": [number(row["held_out_loss"], ".3f") for row in rows],
            "final loss": [number(row["final_loss"], ".3f") for row in rows],
            "steps": [number(row["steps"], ",d") for row in rows],
            "tokens": [number(row["trained_tokens"], ",d") for row in rows],
            f"training ({work})": [
                "trial" if row["trial"] else number(row[f"training{unit}"], ",.2f") for row in rows
            ],
            f"scoring ({work})": [number(row[f"scoring{unit}"], ",.2f") for row in rows],
        }
    )[[row["role"] != "trial" for row in rows]]
    style = table.style.hide(axis="index").format(escape="latex")
    text = style.to_latex(hrules=True, column_format="ll" + "r" * (len(table.columns) - 2))
    text = re.sub(r"(?<=\\\\\n)(?=\S+ & base )", r"\\addlinespace\n", text)  # a new model
    width = rf"\multicolumn{{{len(table.columns)}}}{{p{{\linewidth}}}}"
    notes = "".join(rf"{width}{{{note}}} \\" + "\n" for note in below(rows, unit, work))
    return text.replace("\\bottomrule", f"\\midrule\n{notes}\\bottomrule")


def below(rows: Sequence[Row], unit: str, work: str) -> list[str]:
    """The lines of totals, and of what the runs share."""
    by_role = {role: [row for row in rows if row["role"] == role] for role in ("run", "trial")}
    sums = [f"scoring {total(rows, f'scoring{unit}'):,.2f} {work}"]
    if trials := by_role["trial"]:
        used = f"{total(trials, f'training{unit}'):,.2f} {work}"
        sums.insert(0, f"{len(trials)} trials of learning rates {used}")
    if trained := [row for row in by_role["run"] if not row["trial"]]:
        used = f"{total(trained, f'training{unit}'):,.2f} {work}"
        sums.insert(0, f"training of {len(trained)} runs {used}")
    shared = []
    for key, name in SHARED.items():
        values = dict.fromkeys(row[key] for row in by_role["run"] if row[key] not in (None, ""))
        if values:
            shared.append(f"{name} {' / '.join(map(plain, values))}")
    hardware = sorted({name for row in rows for name in row["hardware"].split("; ")})
    return [
        f"Total: {'; '.join(sums)}.",
        *([f"All SFT runs: {'; '.join(shared)}."] if shared else []),
        rf"Hardware: {', '.join(map(latex.escape, hardware))}.",
    ]


def total(rows: Sequence[Row], key: str) -> float:
    """The sum of a column."""
    return sum(row[key] or 0 for row in rows)


def number(value: float | None, form: str) -> str:
    """A number as print has it, or a dash."""
    return "--" if value is None else format(value, form)


def plain(value: Any) -> str:
    """A setting as print has it."""
    return f"{value:g}" if isinstance(value, float) else latex.escape(str(value))


if __name__ == "__main__":
    program(main)
