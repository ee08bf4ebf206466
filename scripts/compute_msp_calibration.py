"""Compute the calibration of the maximum softmax probability, with and without Platt scaling.

`calibration_error` is that of paper 2's v2: the unweighted mean of |accuracy - confidence| over
10 equal-mass half-open bins of the pooled answers, without empty bins. A confidence of exactly 1
falls in no half-open bin, and `unbinned` counts such answers. `calibration_error_cells` is that
of v4, the mean over (data set, phrasing). `calibration_error_width` is that of v2's figure against
accuracy, the same mean with bins of equal width. Platt scaling is fitted for each model on the
answers that train the abstention threshold, and evaluated on the others. Writes the tables
calibration and platt, and the curves for the figures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from multical import records
from multical.errors import program
from multical.figures import latex, msp_tables, outputs
from multical.figures.params import CalibrationTables
from multical.metrics import abstention, correctness, definitions
from multical.metrics.params import Split
from multical.metrics.readouts import Floats


def main() -> None:
    args = outputs.arguments(
        __doc__, CalibrationTables, ["records"], outputs.TABLE, curves=outputs.CURVES
    )
    params: CalibrationTables = args.params
    rows, fits, curves = [], [], []
    pooled = {
        (keys["model"], keys["dataset"]): msp_tables.in_split_order(part)
        for keys, part in msp_tables.answer_groups(
            records.read(args.records), params, "msp", by_prompt=False
        )
    }
    sizes = {dataset: len(part) for (_, dataset), part in pooled.items()}
    msp_tables.check_main_k(params.split, sizes)
    for dataset, chosen in msp_tables.scopes(params):
        for model in params.names.values():
            parts = [Part(pooled[model, name], params.split) for name in chosen]
            platt = correctness.fit_platt(
                np.concatenate([part.confidence[part.train] for part in parts]),
                np.concatenate([part.correct[part.train] for part in parts]),
            )
            keys = {"dataset": dataset, "model": model}
            plain = summary(parts, [part.confidence for part in parts], params.bins)
            tested = [part.tested() for part in parts]
            after = summary(tested, [platt(part.confidence) for part in tested], params.bins)
            rows.append(keys | plain | {f"{name}_platt": after[name] for name in ERRORS})
            trained = int(sum(part.train.sum() for part in parts))
            fits.append(keys | {"a": platt.a, "b": platt.b, "trained_on": trained})
            for name, value in (("none", plain), ("platt", after)):
                curves.append(pd.DataFrame(keys | {"scaling": name} | value["curve"]))
    table = msp_tables.in_order(pd.DataFrame(rows).drop(columns="curve"), params)
    fitted = msp_tables.in_order(pd.DataFrame(fits), params)
    msp_tables.write_table(args, "calibration", table, print_table(table))
    seed = params.split.seed
    msp_tables.write_table(args, "platt", fitted, print_fits(fitted), seed)
    msp_tables.write_data(args.curves, pd.concat(curves, ignore_index=True))


#: Columns that have a Platt-scaled version.
ERRORS = ("calibration_error", "calibration_error_cells", "calibration_error_width")


class Part:
    """The answers of one (data set, model), with their phrasings and whether they train."""

    def __init__(self, rows: pd.DataFrame, split: Split) -> None:
        readout = msp_tables.readout(rows, "msp")
        self.confidence, self.correct = readout.confidence, readout.correct
        self.prompt = rows["prompt"].astype(str).to_numpy()
        size = len(rows)
        train = abstention.permutation(size, split.seed)
        self.train = np.zeros(size, bool)
        self.train[train[: abstention.training_size(split.main_k, size)]] = True

    def tested(self) -> Part:
        """The answers that do not train, as another part."""
        part, rows = object.__new__(Part), ~self.train
        part.confidence, part.correct = self.confidence[rows], self.correct[rows]
        part.prompt, part.train = self.prompt[rows], self.train[rows]
        return part


def summary(parts: list[Part], confidences: list[Floats], bins: int) -> dict[str, Any]:
    """Pooled error and curve of `confidences`, and the means of the cells' errors."""
    options: dict[str, Any] = {"bins": bins, "scheme": "equal_mass", "closed": False}
    confidence = np.concatenate(confidences)
    correct = np.concatenate([part.correct for part in parts])

    def of_cells(**options: Any) -> float:
        errors = [
            definitions.calibration_error(
                sure[part.prompt == prompt], part.correct[part.prompt == prompt],
                weighting="uniform", **options,
            )[0]
            for part, sure in zip(parts, confidences, strict=True)
            for prompt in np.unique(part.prompt)
        ]  # fmt: skip
        return float(np.mean(errors))

    mass, sure, right = (sums[0] for sums in definitions.bin_sums(confidence, correct, **options))
    filled = mass > 0
    return {
        "n": len(confidence),
        "unbinned": int(len(confidence) - mass.sum()),
        "bins": int(filled.sum()),
        "calibration_error": float(
            definitions.calibration_error(confidence, correct, weighting="uniform", **options)[0]
        ),
        "calibration_error_cells": of_cells(**options),
        "calibration_error_width": of_cells(**options | {"scheme": "equal_width"}),
        "curve": {
            "bin": np.flatnonzero(filled),
            "n": mass[filled].astype(int),
            "confidence": sure[filled] / mass[filled],
            "accuracy": right[filled] / mass[filled],
        },
    }


def print_table(table: pd.DataFrame) -> pd.DataFrame:
    two = latex.rounded(2)
    return latex.printed(table, {
        "dataset": ("dataset", None),
        "model": ("LLM", None),
        "calibration_error": ("Calibration error", two),
        "calibration_error_cells": ("mean of cells", two),
        "calibration_error_width": ("equal width", two),
        "calibration_error_platt": ("Platt-scaled", two),
        "calibration_error_cells_platt": ("mean of cells, Platt-scaled", two),
        "calibration_error_width_platt": ("equal width, Platt-scaled", two),
    })  # fmt: skip


def print_fits(table: pd.DataFrame) -> pd.DataFrame:
    return latex.printed(table, {
        "dataset": ("dataset", None),
        "model": ("LLM", None),
        "a": ("A", latex.rounded(3)),
        "b": ("B", latex.rounded(3)),
        "trained_on": ("Trained on", None),
    })  # fmt: skip


if __name__ == "__main__":
    program(main)
