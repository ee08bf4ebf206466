"""Compute what changes from one study of paper 2 to another, such as from zero-shot to one-shot.

A cell is one (data set, model), with the mean over phrasings of each measure: accuracy, AUROC of
the maximum softmax probability (MSP), the debiased mean squared calibration error
(`debiased_ece2`), the mean squared difference between MSP and correctness (`brier`), and the
calibration error of paper 2. The last has no test: noise adds to its absolute gaps, the more the
less sharp confidences are, so that it may change where calibration does not.

In a paired data set, both studies are compared on the questions that both have, and a replicate
draws each of them in both studies and all phrasings. Questions of released outputs are known by
their number alone. So the program demands that right answers before and after go together there
(`correlation`). In an unpaired data set, the questions of each study are drawn apart. p is that of
a t-test over questions, with the standard error of the bootstrap (`effects.effect_test`). It is
corrected for the cells of a measure, and the means over data sets (`all`) apart from them.

The table mean_changes takes the models as the sample, each with equal weight: the mean change with
Student's interval and test, and in how many models a measure rises and falls. p is corrected for
the measures of a data set. A model counts for `all` only if it has all data sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from multical import records
from multical.errors import InputError, program
from multical.figures import latex, msp_tables, outputs
from multical.figures.params import Answers, ChangesTable
from multical.metrics import definitions, resampling
from multical.metrics.bootstrap import Bootstrap
from multical.metrics.readouts import Floats
from multical.stats import comparisons, effects
from multical.stats.effects import Effect

#: The tested measures, with the largest possible change of each
TESTED = {"accuracy": 1.0, "auroc": 1.0, "debiased_ece2": 2.0, "brier": 1.0}
SHOWN = "calibration_error"
TITLES = {
    "accuracy": "Accuracy",
    "auroc": "AUROC",
    "debiased_ece2": "Debiased squared error",
    "brier": "Brier score",
    SHOWN: "Calibration error",
}
#: How sure it must be that right answers go together, in standard errors of their covariance
TOGETHER = 3.0
#: Marks what is significant after Holm's correction
LEVEL = 0.05

COLUMNS = (
    "dataset", "model", "measure", "before", "after", "change", "ci_low", "ci_high", "p", "n",
    "n_before", "paired", "correlation",
)  # fmt: skip
#: Columns of the printed means
PRINTED = {
    "dataset": "dataset", "measure": "Measure", "models": "LLMs", "text": "Mean change (x 100)",
    "rises": "Rises", "falls": "Falls",
}  # fmt: skip

Phrasings = list[tuple[pd.DataFrame, pd.DataFrame]]


def main() -> None:
    args = outputs.arguments(__doc__, ChangesTable, ["records", "before_records"], outputs.TABLE)
    params: ChangesTable = args.params
    frames = records.read(args.before_records), records.read(args.records)
    cells = [
        Cell(dataset, model, phrasings, dataset not in params.unpaired)
        for dataset, model, phrasings in matched(*frames, params)
    ]
    if msp_tables.is_released(frames[1]):
        check_pairs(cells, params)
    table = change_table(cells, params)
    means = mean_table(table, params)
    seed = params.bootstrap.seed
    msp_tables.write_table(args, "changes", table, print_changes(table), seed)
    msp_tables.write_table(args, "mean_changes", means, print_means(means), seed)


@dataclass(frozen=True)
class Cell:
    """The answers of a model to a data set: for each phrasing, those before and after."""

    dataset: str
    model: str
    phrasings: Phrasings
    paired: bool


def matched(
    before: pd.DataFrame, after: pd.DataFrame, params: ChangesTable
) -> Iterator[tuple[str, str, Phrasings]]:
    """Data set, model, and the answers of each phrasing that both studies have.

    Those of a paired data set are to the same questions, in the same order.
    """
    old, new = rows_by_key(before), rows_by_key(after)
    benchmarks = {item.id: (item.benchmark, item.language) for item in params.before.datasets}
    for item in params.datasets:
        for model in params.models:
            phrasings = []
            for prompt, other in params.prompts.items():
                first = old.get((*benchmarks[item.id], model.file, other))
                second = new.get((item.benchmark, item.language, model.file, prompt))
                if first is None or second is None:
                    continue
                if item.id not in params.unpaired:
                    ids = first.index.intersection(second.index).sort_values()
                    first, second = first.loc[ids], second.loc[ids]
                if len(first):
                    phrasings.append((first, second))
            yield item.id, model.name, phrasings


def rows_by_key(frame: pd.DataFrame) -> dict[Any, pd.DataFrame]:
    """The answers with an MSP, by question, for each benchmark, language, run and phrasing."""
    rows = msp_tables.answers(frame, "msp")
    groups = rows.groupby(["benchmark", "language", "run", "prompt"], observed=True)
    return {key: part.set_index("question_id", drop=False) for key, part in groups}


def check_pairs(cells: list[Cell], params: Answers) -> None:
    """Raise `InputError` unless right answers before and after go together in paired data sets.

    The covariance, summed over models and phrasings, must exceed 0 by `TOGETHER` standard errors
    over questions.
    """
    for dataset in dict.fromkeys(cell.dataset for cell in cells if cell.paired):
        products = [
            (right(first) - right(first).mean()) * (right(second) - right(second).mean())
            for cell in cells
            if cell.dataset == dataset
            for first, second in cell.phrasings
        ]
        if not products:
            continue
        by_question = pd.concat(products).groupby(level=0).sum().to_numpy(float)
        error = by_question.std(ddof=1) / np.sqrt(len(by_question))
        if not by_question.mean() > TOGETHER * error:
            raise InputError(
                f"records: {dataset}: right answers before and after do not go together, expected "
                "the same questions in the same order, or the data set in compared_with.unpaired"
            )


def right(rows: pd.DataFrame) -> pd.Series:
    """Whether each question was answered right, by question."""
    return pd.Series(msp_tables.readout(rows, "msp").correct.astype(float), rows.index)


@dataclass(frozen=True)
class Change:
    """A measure before and after. `effect` is None for a measure without a test."""

    before: float
    after: float
    effect: Effect | None


def change_table(cells: list[Cell], params: ChangesTable) -> pd.DataFrame:
    """A row per data set, `all` included, model and measure."""
    rows: list[dict[str, Any]] = []
    for model in params.names.values():
        own = [cell for cell in cells if cell.model == model]
        changes = [measured(cell, params, place) for place, cell in enumerate(own)]
        for cell, change in zip(own, changes, strict=True):
            keys: dict[str, Any] = {"dataset": cell.dataset, "model": model, "paired": cell.paired}
            rows += described(keys | about(cell), change, params)
        if all(len(cell.phrasings) == len(params.prompts) for cell in own):
            together = {name: overall([one[name] for one in changes]) for name in TITLES}
            keys = {"dataset": msp_tables.ALL, "model": model}
            keys |= {key: sum(about(cell)[key] for cell in own) for key in ("n", "n_before")}
            rows += described(keys, together, params)
    table = msp_tables.in_order(pd.DataFrame(rows), params)
    families = table.assign(overall=table["dataset"] == msp_tables.ALL)
    return comparisons.corrected(families, ["overall", "measure"], ["p"]).drop(columns="overall")


def measured(cell: Cell, params: ChangesTable, place: int) -> dict[str, Change]:
    """The change of each measure in a cell; empty if the studies share none of its answers.

    The data set at each `place` has draws of its own.
    """
    if not cell.phrasings:
        return {}
    settings, apart = params.bootstrap, 0 if cell.paired else len(params.datasets)
    sides = [[pair[side] for pair in cell.phrasings] for side in (0, 1)]
    questions = [sorted({name for rows in side for name in rows.index}) for side in sides]
    before, after = (
        values(rows, Bootstrap(ids, settings.replicates, settings.seed + place + more), params.bins)
        for rows, ids, more in zip(sides, questions, (0, apart), strict=True)
    )
    changes = {}
    for name in TITLES:
        drawn = after[name] - before[name]
        value, effect = float(drawn[-1]), None
        if name in TESTED:
            bounds, n = (-TESTED[name], TESTED[name]), min(map(len, questions))
            effect = Effect(value, drawn[:-1], n, bounds, np.array([value]))
        changes[name] = Change(float(before[name][-1]), float(after[name][-1]), effect)
    return changes


def values(phrasings: list[pd.DataFrame], bootstrap: Bootstrap, bins: int) -> dict[str, Floats]:
    """(B + 1,) means over phrasings of each measure in the replicates and, last, in the data.

    The measure `SHOWN` has the last alone.
    """
    found: dict[str, list[Floats]] = {name: [] for name in TITLES}
    for rows in phrasings:
        readout = msp_tables.readout(rows, "msp")
        sample = bootstrap.sample(rows["question_id"])
        names = ["accuracy", "auroc", "debiased_ece2"]
        drawn = resampling.replicates(readout, sample, names, bins)
        squares = (readout.confidence - readout.correct) ** 2
        drawn["brier"] = sample.sums(squares)[0] / sample.size
        drawn[SHOWN] = definitions.calibration_error(
            readout.confidence, readout.correct,
            bins=bins, scheme="equal_mass", weighting="uniform", closed=False,
        )  # fmt: skip
        for name, value in drawn.items():
            found[name].append(value)
    return {name: np.mean(parts, axis=0) for name, parts in found.items()}


def overall(changes: list[Change]) -> Change:
    """The mean over data sets, whose questions are drawn apart."""
    tested = [change.effect for change in changes if change.effect]
    return Change(
        float(np.mean([change.before for change in changes])),
        float(np.mean([change.after for change in changes])),
        effects.average(tested) if tested else None,
    )


def about(cell: Cell) -> dict[str, Any]:
    """How many answers are compared, and whether right ones go together at the same number."""
    pairs = [right(first).align(right(second), join="inner") for first, second in cell.phrasings]
    both = np.concatenate([np.zeros((2, 0)), *pairs], axis=1)
    known = both.size and both.std(axis=1).all()
    return {
        "n": sum(len(second) for _, second in cell.phrasings),
        "n_before": sum(len(first) for first, _ in cell.phrasings),
        "correlation": float(np.corrcoef(both)[0, 1]) if known else np.nan,
    }


def described(
    keys: dict[str, Any], changes: dict[str, Change], params: ChangesTable
) -> list[dict[str, Any]]:
    """A row per measure, whose values are missing if there are no changes."""
    rows = []
    for name in TITLES:
        row = keys | {"measure": name}
        if change := changes.get(name):
            row |= {"before": change.before, "after": change.after}
            row["change"] = change.after - change.before
            if change.effect:
                interval = effects.described(change.effect, params.bootstrap.level)
                row |= {end: interval[end] for end in ("ci_low", "ci_high")}
                row["p"] = effects.effect_test(change.effect)["p"]
        rows.append(dict.fromkeys(COLUMNS) | row)
    return rows


def mean_table(table: pd.DataFrame, params: ChangesTable) -> pd.DataFrame:
    """A row per data set, `all` included, and measure, with the models as the sample."""
    rows = []
    known = table.dropna(subset="change")
    for (dataset, measure), part in known.groupby(["dataset", "measure"], sort=False):
        changes = part["change"].to_numpy(float)
        row = {"dataset": dataset, "measure": measure, "models": len(changes)}
        row |= {name: part[name].mean() for name in ("before", "after", "change")}
        tested = changes if measure in TESTED else changes[:0]
        row |= effects.over_models(tested, params.bootstrap.level)
        rows.append(row | effects.directions(changes))
    return comparisons.corrected(pd.DataFrame(rows), ["dataset"], ["p"])


def print_changes(table: pd.DataFrame) -> pd.DataFrame:
    """A row per data set and model, with each change in points of 100, and its interval."""
    named = table.assign(text=texts(table), column=table["measure"].map(TITLES))
    keys = ["dataset", "model", "n"]
    wide = named.pivot(index=keys, columns="column", values="text")
    rows = pd.MultiIndex.from_frame(named[keys].drop_duplicates())
    wide = wide.reindex(index=rows, columns=list(TITLES.values()))
    return wide.reset_index().rename(columns={"model": "LLM", "n": "Answers"})


def print_means(table: pd.DataFrame) -> pd.DataFrame:
    columns = {name: (title, None) for name, title in PRINTED.items()}
    return latex.printed(
        table.assign(text=texts(table), measure=table["measure"].map(TITLES)), columns
    )


def texts(table: pd.DataFrame) -> list[str]:
    """Each change times 100 with its interval, and a star if it is significant (Holm)."""
    number = latex.rounded(1, 100)
    columns = table[["change", "ci_low", "ci_high", "p_holm"]].to_numpy(float)
    return [
        number(change)
        + ("" if np.isnan(low) else f" [{number(low)}, {number(high)}]")
        + "*" * bool(p < LEVEL)
        for change, low, high, p in columns
    ]


if __name__ == "__main__":
    program(main)
