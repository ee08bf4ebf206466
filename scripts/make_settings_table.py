"""Make the table of settings: how each run of a study was trained, and which compute it used.

The CSV has a row per base model, per trial of a learning rate and per SFT run (column role). The
LaTeX table (package booktabs) shows trials only in a line of totals. trained_tokens is the number
of labels in an epoch. training_hours and scoring_hours are sums of the wall time of jobs. GPU-hours
are wall time times the GPUs of each job, so 0 on CPUs. The time to measure held-out losses is not
counted. held_out_loss is given for a trial and for the run that adopted it. loss_reduction,
max_grad_norm, soft_cap and temperature are columns only if a run has another value than the
default, which empty cells stand for.

A run that adopted a trial was not trained again. Its cells of training compute are empty, and the
row of the trial has the values, so that each is counted once.

The parameters determine which files are read. Their paths are relative to the working folder.
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

#: Settings that the runs of a study share, with their printed names
SHARED = {
    "batch_size": "batch",
    "epochs": "epochs",
    "max_length": "max. length",
    "warmup_ratio": "warm-up",
    "weight_decay": "weight decay",
    "loss_reduction": "loss reduction",
    "max_grad_norm": "max. gradient norm",
    "soft_cap": "soft cap in training",
    "temperature": "temperature in training",
    "precision": "precision",
    "sharding": "sharding",
    "processes": "processes",
    "adapter": "adapter",
    "tried": "learning rates tried",
}


def main() -> None:
    args = outputs.arguments(__doc__, SettingsTable, [], outputs.TABLE)
    args.inputs.add(settings_table.files(args.params))
    rows = settings_table.rows(args.params)
    rare = [key for key in settings_table.RARE if any(row[key] is not None for row in rows)]
    table = pd.DataFrame(rows, columns=[*settings_table.COLUMNS, *rare], dtype=object)
    latex.write(args, table, tabular(rows))


def tabular(rows: Sequence[Row]) -> str:
    """The LaTeX table: a line per base model and SFT run, then notes on all runs."""
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
    """The notes below the table: totals, shared settings and hardware."""
    by_role = {role: [row for row in rows if row["role"] == role] for role in ("run", "trial")}
    sums = [f"scoring {total(rows, f'scoring{unit}'):,.2f} {work}"]
    if trials := by_role["trial"]:
        time = f"{total(trials, f'training{unit}'):,.2f} {work}"
        sums.insert(0, f"{len(trials)} trials of learning rates {time}")
    if trained := [row for row in by_role["run"] if not row["trial"]]:
        time = f"{total(trained, f'training{unit}'):,.2f} {work}"
        sums.insert(0, f"training of {len(trained)} runs {time}")
    shared = []
    for key, name in SHARED.items():
        values = dict.fromkeys(row.get(key) for row in by_role["run"])
        values = {value: None for value in values if value not in (None, "")}
        if values:
            shared.append(f"{name} {' / '.join(map(plain, values))}")
    hardware = sorted({name for row in rows for name in row["hardware"].split("; ")})
    return [
        f"Total: {'; '.join(sums)}.",
        *([f"All SFT runs: {'; '.join(shared)}."] if shared else []),
        rf"Hardware: {', '.join(map(latex.escape, hardware))}.",
    ]


def total(rows: Sequence[Row], key: str) -> float:
    """The sum of a column. An empty cell counts as 0."""
    return sum(row[key] or 0 for row in rows)


def number(value: float | None, form: str) -> str:
    """A number in the format `form`, or a dash for None."""
    return "--" if value is None else format(value, form)


def plain(value: Any) -> str:
    """A setting as LaTeX text."""
    return f"{value:g}" if isinstance(value, float) else latex.escape(str(value))


if __name__ == "__main__":
    program(main)
