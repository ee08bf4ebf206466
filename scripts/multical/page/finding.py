"""What a study finds, in sentences made from its numbers. The terminal and the page say the same.

A sentence names a direction only where all models go there, and gives the number of each model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from multical import paths
from multical.config.schema import Config
from multical.errors import InputError
from multical.figures import msp_tables, tables
from multical.figures.language_names import language
from multical.figures.params import Conditions
from multical.page.contents import answered
from multical.workflow import job_params, msp_params

#: The languages of the means, the first that a study has, with their name
GROUPS = {"non-english": "languages other than English", "all": "languages"}
METRICS = {"confidence": "confidence", "accuracy": "accuracy", "ece": "ECE"}
#: A smaller change of accuracy is marginal, as claim M2 has it
MARGINAL = 0.03
#: A correlation with a smaller p-value is named
ALPHA = 0.05
#: Metrics whose changes have intervals that hold the truth; those of ECE do not
TESTED = ("confidence", "accuracy", "debiased_ece2")
ERROR = "calibration error ECE"


@dataclass(frozen=True)
class Part:
    """One part of the finding, and the languages or models that it does not hold for."""

    says: str
    exceptions: list[str]
    total: int

    def __str__(self) -> str:
        return f"{self.says} in {self.total - len(self.exceptions)} of {self.total}"


@dataclass(frozen=True)
class Finding:
    """One sentence, the numbers behind it, and its parts: of each, where it does not hold.

    `unit` is what the parts count, languages or models.
    """

    lead: str
    numbers: list[str]
    parts: list[Part]
    unit: str


def find(config: Config, root: str) -> Finding:
    """The finding of a study; raises `InputError` for an unknown study and for missing tables."""
    if root not in config.studies:
        raise InputError(f"{root}: no such study, expected one of {list(config.studies)}")
    if answered(config, root):
        return _of_answers(config, root)
    params = job_params.figure(config, root, Conditions)
    return _of_base_models(params) if params.sft is None else _of_changes(params)


def headline_figure(config: Config, root: str) -> str:
    """The name of the main figure."""
    return "accuracy_vs_auroc" if answered(config, root) else "ece_by_lang"


# -- paper 1: SFT, and smoothing


def _of_changes(params: Conditions) -> Finding:
    base, plain, smoothed = conditions = tables.conditions(params)
    rows, where = _means(params, conditions)
    means = rows.set_index(["condition", "metric", "model"])["value"]
    models = tables.models(rows)

    def shifts(metric: str, before: float | None, after: float | None) -> list[float]:
        change = means[tables.label(after)] - means[tables.label(before)]
        return [float(change[metric, model]) for model in models]

    def numbers(before: float | None, after: float | None) -> str:
        return ", ".join(
            f"{name} {_signed(shifts(metric, before, after))}" for metric, name in METRICS.items()
        )

    confidence, accuracy, ece = (shifts(metric, base, plain) for metric in METRICS)
    smoothing = shifts("ece", plain, smoothed)
    every = _by_language(params, conditions)
    moves = "hardly moves" if max(map(abs, accuracy)) < MARGINAL else _verb(accuracy)
    return Finding(
        lead=(
            f"In {where}, fine-tuning (SFT) {_verb(confidence)} the confidence of "
            f"{_listed(models)} ({_signed(confidence)}), {moves} the accuracy "
            f"({_signed(accuracy)}) and {_verb(ece)} the {ERROR} ({_signed(ece)}); label smoothing "
            f"of {smoothed:g} in that training {_verb(smoothing)} "
            f"{'it again' if _verb(ece) == 'raises' else 'it'} "
            f"({_signed(smoothing)} against SFT alone)."
        ),
        numbers=[
            f"SFT of {' and '.join(models)} changes {numbers(base, plain)} (means over {where}).",
            f"Smoothing {smoothed:g} in place of none changes {numbers(plain, smoothed)}.",
        ],
        parts=[
            *_parts("SFT", every, base, plain, dict(zip(models, ece, strict=True))),
            *_parts(
                f"Smoothing {smoothed:g}", every, plain, smoothed,
                dict(zip(models, smoothing, strict=True)),
            ),
        ],
        unit="languages",
    )  # fmt: skip


def changes(config: Config, root: str) -> list[list[str]]:
    """A row for each change and model: by what it changes each metric, with the interval.

    The first row has the titles. There are none for a study without SFT runs.
    """
    if answered(config, root) or config.measured(root).figures.sft is None:
        return []
    params = job_params.figure(config, root, Conditions)
    path = paths.EFFECTS_OVER_LANGUAGES.format(root=root)
    rows = tables.compared(path, "effects_over_languages", params)
    group = next(name for name in GROUPS if name in rows["group"].array)
    rows = rows[(rows["group"] == group) & rows["metric"].isin(TESTED)]
    spans = {
        (row.condition, row.model, row.metric): f"{row.value:+.3f} "
        f"[{row.ci_low:+.3f}, {row.ci_high:+.3f}]"
        for row in rows.itertuples()
    }
    shown = [name for name in TESTED if name in rows["metric"].array]
    made = [
        [condition, model, *(spans[condition, model, name] for name in shown)]
        for condition in rows["condition"].cat.categories
        for model in tables.models(rows)
    ]
    return [["change", "model", *(tables.CHANGED[name] for name in shown)], *made]


def _means(params: Conditions, conditions: Sequence[float | None]) -> tuple[pd.DataFrame, str]:
    """Means over languages other than English, or all if there is no other, and their name."""
    path = paths.SUMMARY.format(root=params.study)
    rows = tables.chosen(path, "summary", params, conditions, metric=list(METRICS))
    group = next(name for name in GROUPS if name in rows["group"].array)
    rows = rows[rows["group"] == group]
    return rows, f"{rows['languages'].max():.0f} {GROUPS[group]}"


def _by_language(params: Conditions, conditions: Sequence[float | None]) -> pd.DataFrame:
    """A row for each model and language, a column for each metric and condition."""
    path = paths.METRICS.format(root=params.study)
    rows = tables.chosen(path, "metrics", params, conditions, metric=list(METRICS))
    rows = rows.astype({"condition": str})
    return rows.pivot_table(
        index=["model", "language"], columns=["metric", "condition"], values="value", sort=False
    )


def _parts(
    what: str, every: pd.DataFrame, before: float | None, after: float | None,
    means: dict[str, float],
) -> Iterator[Part]:  # fmt: skip
    """For each model, in how many languages ECE moves as its mean does."""
    shifts = every["ece", tables.label(after)] - every["ece", tables.label(before)]
    for model, mean in means.items():
        yield _part(f"{what} {_verb([mean])} the ECE of {model}", shifts[model], mean)


def _part(says: str, values: pd.Series, mean: float) -> Part:
    """In which languages a value has the sign of the mean."""
    values = values.dropna()
    other = values[values <= 0] if mean > 0 else values[values >= 0]
    return Part(says, sorted(language(str(code)) for code in other.index), len(values))


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence: `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _verb(shifts: Sequence[float]) -> str:
    if all(shift > 0 for shift in shifts):
        return "raises"
    return "lowers" if all(shift < 0 for shift in shifts) else "changes"


def _signed(shifts: Sequence[float]) -> str:
    return " and ".join(f"{shift:+.3f}" for shift in shifts)


# -- base models alone


def _of_base_models(params: Conditions) -> Finding:
    rows, where = _means(params, [None])
    means = rows.pivot_table(index="model", columns="metric", values="value", sort=False)
    gaps = means["confidence"] - means["accuracy"]
    over = [str(model) for model in gaps.index[gaps > 0]]
    distances = _by_language(params, [None])[["confidence", "accuracy"]].droplevel(1, axis=1)
    by_language = distances["confidence"] - distances["accuracy"]
    return Finding(
        lead=(
            f"{len(over)} of {len(gaps)} models ({', '.join(over) or 'none'}) claim to be right "
            f"more often than they are: mean confidence minus accuracy is {_signed(gaps.to_list())}"
            f" for {_listed([str(model) for model in gaps.index])} (means over {where})."
        ),
        numbers=[
            f"{model}: "
            + ", ".join(f"{name} {row[metric]:.3f}" for metric, name in METRICS.items())
            for model, row in means.iterrows()
        ],
        parts=[
            _part(
                f"{model} is {'overconfident' if gap > 0 else 'underconfident'}",
                by_language[str(model)], float(gap),
            )
            for model, gap in gaps.items()
        ],
        unit="languages",
    )  # fmt: skip


# -- paper 2: maximum softmax probabilities (MSP)


def _of_answers(config: Config, root: str) -> Finding:
    error = msp_params.calibration_figure(config, root, "").error
    numbers = {"AUROC": "msp_auroc", "calibration error": error}
    points = _read(root, "points", ["dataset", "prompt", "model", *numbers.values()])
    found = _read(root, "correlations", ["dataset", "prompt", "x", "y", "r", "p"])
    found = found[found["x"] == "accuracy"].set_index("y")
    knows = _above_chance(root)
    means = {name: f"{points[column].mean():.3f}" for name, column in numbers.items()}

    def r(column: str) -> str:
        return f"r = {found['r'][column]:.2f}, p = {found['p'][column]:.2g}"

    def linked(column: str, more: str, less: str) -> str:
        if found["p"][column] >= ALPHA:
            return f"with no clear link to accuracy ({r(column)})"
        word = more if found["r"][column] > 0 else less
        return f"{word} in more accurate models ({r(column)})"

    return Finding(
        lead=(
            f"The confidence of {len(points)} chat models misses their accuracy by "
            f"{means['calibration error']} on average (calibration error), "
            f"{linked(error, 'more', 'less')}; it tells right answers from wrong ones better than "
            f"a guess in {knows.total - len(knows.exceptions)} of {knows.total} models (mean "
            f"AUROC {means['AUROC']}), {linked('msp_auroc', 'better', 'worse')}."
        ),
        numbers=[
            f"Maximum softmax probabilities of {len(points)} models: "
            + ", ".join(
                f"{name} {means[name]} ({points[column].min():.3f} to {points[column].max():.3f})"
                for name, column in numbers.items()
            ),
            "Correlation with accuracy across models: "
            + ", ".join(f"{name} ({r(column)})" for name, column in numbers.items()),
        ],
        parts=[knows],
        unit="models",
    )


def _above_chance(root: str) -> Part:
    """The models whose interval of AUROC lies above that of a guess."""
    columns = ["dataset", "model", "method", "measure", "prompt", "ci_low"]
    rows = _read(root, "intervals", columns)
    rows = rows[(rows["method"] == "msp") & (rows["measure"] == "auroc")]
    near = rows.loc[rows["ci_low"] <= 0.5, "model"]
    says = "The interval of AUROC lies above 0.5, that of a guess,"
    return Part(says, [str(model) for model in near], len(rows))


def _read(root: str, name: str, columns: list[str]) -> pd.DataFrame:
    """The rows of a table of paper 2 on all data sets and phrasings together."""
    path = paths.STUDY_TABLE.format(root=root, name=f"{name}.csv")
    table = msp_tables.read_table(path, columns)
    return table[(table["dataset"] == msp_tables.ALL) & table["prompt"].isna()]
