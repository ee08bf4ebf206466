"""Make the table of settings: how each run of a study was trained, and what it used.

The CSV has a row per base model, per trial of a learning rate and per SFT run (column role);
the LaTeX table (package booktabs) leaves the trials to a line of totals. trained_tokens are
the labels of an epoch. training_hours and scoring_hours are the wall time of the jobs, added
up, and the GPU-hours are that times the GPUs of each: 0 on CPUs. What measuring held-out
losses took is not counted. held_out_loss is that of a trial, and of the run that adopted it.

A run that adopted a trial was not trained again. What its training took stands in the row of
the trial alone, so that sums are right; its own cells are empty.

--params is a JSON object: study, target, benchmarks, tried (learning rates) and runs, each with
run, role, model, sft and adopted (true where it is one of the trials). The files to read follow
from them, as seen from the working folder.
"""

from __future__ import annotations

import argparse
import csv
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2  # noqa: F401  # writes the LaTeX, for pandas
import pandas as pd

from multical import params
from multical.errors import InputError, program
from multical.figures import settings_table
from multical.figures.settings_table import Row
from multical.files import atomic
from multical.provenance import sidecar

KINDS: params.Kinds = {"study": str, "target": str, "benchmarks": list, "tried": list, "runs": list}
RUN: params.Kinds = {
    "run": str,
    "role": str,
    "model": str,
    "sft": (str, type(None)),
    "adopted": bool,
}
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
    started = time.monotonic()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", required=True, metavar="JSON", help="see above")
    parser.add_argument("--code", required=True, help="fingerprint of the code, for the sidecar")
    parser.add_argument("--csv", required=True, help="output: the table, full precision")
    parser.add_argument("--tex", required=True, help="output: the table for print")
    parser.add_argument("--sidecar", metavar="JSON", required=True, help="output: provenance")
    args = parser.parse_args()
    study = told(args.params)
    rows = settings_table.rows(study)
    text = latex(rows)
    with atomic(args.csv) as table, atomic(args.tex) as tex:
        with open(table, "w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, settings_table.COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        Path(tex).write_text(text, encoding="utf-8")
    sidecar.write_sidecar(
        args.sidecar,
        study=study["study"],
        target=study["target"],
        params=study,
        code=args.code,
        inputs=settings_table.files(study),
        outputs=[args.csv, args.tex],
        started=started,
        seed=None,
    )


def told(text: str) -> dict[str, Any]:
    """The study of `--params`."""
    study = params.parse(text)
    settings_table.pick("--params", study, KINDS)
    if not study["runs"]:
        raise InputError("--params: runs: found none, expected at least one")
    for number, run in enumerate(study["runs"], start=1):
        settings_table.pick(f"--params: runs, number {number}", run, RUN)
    return study


def latex(rows: Sequence[Row]) -> str:
    """A line per base model and SFT run; below, what there is to say of all."""
    work = "GPU-h" if any(total(rows, f"{x}_gpu_hours") for x in ("training", "scoring")) else "h"
    unit = "_gpu_hours" if work == "GPU-h" else "_hours"
    table = pd.DataFrame(
        {
            "model": [row["model"] for row in rows],
            "SFT": [row["sft"] or "base" for row in rows],
            "b": [shown(row["smoothing"], "g") for row in rows],
            "seed": [shown(row["seed"], "d") for row in rows],
            "LR": [shown(row["learning_rate"], "g") for row in rows],
            "held-out loss": [shown(row["held_out_loss"], ".3f") for row in rows],
            "final loss": [shown(row["final_loss"], ".3f") for row in rows],
            "steps": [shown(row["steps"], ",d") for row in rows],
            "tokens": [shown(row["trained_tokens"], ",d") for row in rows],
            f"training ({work})": [
                "trial" if row["trial"] else shown(row[f"training{unit}"], ",.2f") for row in rows
            ],
            f"scoring ({work})": [shown(row[f"scoring{unit}"], ",.2f") for row in rows],
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
        rf"Hardware: {', '.join(map(escaped, hardware))}.",
    ]


def total(rows: Sequence[Row], key: str) -> float:
    """The sum of a column."""
    return sum(row[key] or 0 for row in rows)


def shown(value: float | None, form: str) -> str:
    """A number as print has it, or a dash."""
    return "--" if value is None else format(value, form)


def plain(value: Any) -> str:
    """A setting as print has it."""
    return f"{value:g}" if isinstance(value, float) else escaped(str(value))


def escaped(text: str) -> str:
    """A text without the characters that mean something to LaTeX."""
    return "".join(rf"\{char}" if char in "&%$#_{}" else char for char in text)


if __name__ == "__main__":
    program(main)
