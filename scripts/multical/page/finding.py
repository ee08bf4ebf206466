"""What a study finds, in sentences made from its numbers. The terminal and the page say the same.

A sentence names a direction only where all models go there, and gives the number of each model.
Where a finding holds, intervals say: a language or model whose interval holds 0, or what a guess
has, is undecided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from multical import paths
from multical.config.schema import Config
from multical.errors import InputError
from multical.figures import msp_tables, tables
from multical.figures.language_names import language
from multical.figures.params import Conditions
from multical.names import metric_name
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
#: The one of calibration, by which the languages are told where a finding does not hold
SQUARED = "debiased_ece2"
ERROR = "calibration error ECE"


@dataclass(frozen=True)
class Part:
    """One part of the finding: the languages or models for which it holds, or its contrary does.

    `corrected` is in how many it holds by a test after Holm's correction; None without tests.
    """

    says: str
    holds: list[str]
    fails: list[str]
    undecided: list[str]
    corrected: int | None = field(default=None, kw_only=True)

    @property
    def total(self) -> int:
        """The number of languages or models."""
        return len(self.holds) + len(self.fails) + len(self.undecided)

    def __str__(self) -> str:
        told = [f"{len(names)} {what}" for what, names in self._others() if names]
        if self.corrected is not None:
            told.insert(0, f"{self.corrected} after Holm's correction")
        counts = f" ({', '.join(told)})" * bool(told)
        return f"{self.says} in {len(self.holds)} of {self.total}{counts}"

    def _others(self) -> list[tuple[str, list[str]]]:
        return [("the contrary", self.fails), ("undecided", self.undecided)]

    @property
    def most(self) -> tuple[str, list[str]]:
        """The most frequent outcome and its names, which `sentence` leaves out."""
        outcomes = [
            ("where it holds", self.holds),
            ("where the contrary does", self.fails),
            ("left undecided", self.undecided),
        ]
        return max(outcomes, key=lambda outcome: len(outcome[1]))

    def sentence(self, unit: str) -> str:
        """With names, but for the most frequent outcome, which is that of all others."""
        _, most = self.most

        def counted(text: str, names: list[str]) -> str:
            return text if names is most or not names else f"{text} ({', '.join(names)})"

        others = [
            counted(f"{what} in {len(names)}", names) for what, names in self._others() if names
        ]
        holds = counted(f"{self.says} in {len(self.holds)} of {self.total} {unit}", self.holds)
        told = [holds if others else f"{holds}, without exception"]
        if self.corrected is not None:
            told.append(f"in {self.corrected} after Holm's correction")
        return f"{'; '.join([*told, *others])}."


@dataclass(frozen=True)
class Finding:
    """One sentence, the numbers behind it, and its parts: of each, where it does not hold.

    `unit` is what the parts count, languages or models. `decided` says by what, and `note` what the
    numbers of the sentence are.
    """

    lead: str
    numbers: list[str]
    parts: list[Part]
    unit: str
    decided: str
    note: str = ""


@dataclass(frozen=True)
class Detail:
    """A table beside the finding. Its first row has the titles. `key` is its name in links."""

    key: str
    name: str
    title: str
    about: str
    caption: str
    rows: list[list[str]]


def find(config: Config, root: str) -> Finding:
    """The finding of a study; raises `InputError` for an unknown study and for missing tables."""
    if root not in config.studies:
        raise InputError(f"{root}: no such study, expected one of {list(config.studies)}")
    if answered(config, root):
        return _of_answers(config, root)
    params = job_params.figure(config, root, Conditions)
    return _of_base_models(params) if params.sft is None else _of_changes(params)


def detail(config: Config, root: str) -> Detail | None:
    """How large the changes of paper 1 are, or what abstention gains in paper 2; None for neither.

    A study of base models alone has no changes, and one without splits no gains.
    """
    if answered(config, root):
        return _abstention(config, root)
    if config.measured(root).figures.sft is None:
        return None
    return _sizes(job_params.figure(config, root, Conditions))


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
    moves = "hardly moves" if max(map(abs, accuracy)) < MARGINAL else _verb(accuracy)
    return Finding(
        lead=(
            f"On average over {where}, fine-tuning (SFT) {_verb(confidence)} the confidence of "
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
        parts=list(_parts(params)),
        unit="languages",
        decided=(
            f"Counted by the {params.level:.0%} interval of the change of the "
            f"{metric_name(SQUARED)} (below) in each language, without a correction for their "
            "number: undecided if it holds 0. After Holm's correction for all tests of the change "
            "(languages, readouts and metrics), those count whose p is smaller than "
            f"{tables.ALPHA:g}."
        ),
    )


def _sizes(params: Conditions) -> Detail:
    """A row for each change and model: by what it changes each metric, with the interval."""
    rows = _over_languages(params)
    rows = rows[rows["metric"].isin(TESTED)]
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
    return Detail(
        key="changes",
        name="Changes",
        title="How large the changes are",
        about=(
            "SFT against the base model, and SFT with label smoothing against SFT without: means "
            "over languages other than English (over all if there is no other), with bootstrap "
            f"intervals over questions. The {metric_name(SQUARED)} is the squared calibration "
            "error without the bias of ECE, whose own changes have no interval that can be trusted."
        ),
        caption="Changes by SFT and by smoothing",
        rows=[["change", "model", *map(metric_name, shown)], *made],
    )


def _over_languages(params: Conditions) -> pd.DataFrame:
    """The mean changes over languages other than English, or all if there is no other."""
    path = paths.EFFECTS_OVER_LANGUAGES.format(root=params.study)
    rows = tables.compared(path, "effects_over_languages", params)
    group = next(name for name in GROUPS if name in rows["group"].array)
    return rows[rows["group"] == group]


def _means(params: Conditions, conditions: Sequence[float | None]) -> tuple[pd.DataFrame, str]:
    """Means over languages other than English, or all if there is no other, and their name."""
    path = paths.SUMMARY.format(root=params.study)
    rows = tables.chosen(path, "summary", params, conditions, metric=list(METRICS))
    group = next(name for name in GROUPS if name in rows["group"].array)
    rows = rows[rows["group"] == group]
    return rows, f"{rows['languages'].max():.0f} {GROUPS[group]}"


def _parts(params: Conditions) -> Iterator[Part]:
    """For each change and model, in which languages the calibration error moves as its mean does.

    None if the study has no such metric.
    """
    means = _over_languages(params)
    path = paths.EFFECTS.format(root=params.study)
    changes = tables.compared(path, "effects", params)
    changes = changes[changes["metric"] == SQUARED]
    plain, _ = means["condition"].cat.categories
    found: Any = means[means["metric"] == SQUARED].sort_values("condition")
    for mean in found.itertuples():
        what = "SFT" if mean.condition == plain else f"Smoothing {params.smoothing:g}"
        says = f"{what} {_verb([mean.value])} the calibration error of {mean.model}"
        own = (changes["condition"] == mean.condition) & (changes["model"] == mean.model)
        rows = changes[own]
        alike = np.sign(rows["value"]) == np.sign(mean.value)
        corrected = int((alike & (rows["p_holm"] < tables.ALPHA)).sum())
        yield replace(_by_language(says, rows, mean.value), corrected=corrected)


def _by_language(says: str, rows: pd.DataFrame, mean: float) -> Part:
    """In which languages a value has the sign of the mean."""
    names = [language(str(code)) for code in rows["language"]]
    return _part(says, rows.set_axis(names).sort_index(), above=mean > 0)


def _part(says: str, rows: pd.DataFrame, at: float = 0.0, above: bool = True) -> Part:
    """The names of `rows` whose interval lies above a value, or below it.

    Where there is no interval, the value itself decides.
    """
    rows = rows[rows["value"].notna()]
    low, high = (rows[end].fillna(rows["value"]) for end in ("ci_low", "ci_high"))
    over, under = low > at, high < at
    outcomes = [over, under] if above else [under, over]
    return Part(says, *(list(map(str, rows.index[some])) for some in (*outcomes, ~(over | under))))


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
    rows = tables.read(paths.METRICS.format(root=params.study), "metrics")
    rows = rows[
        (rows["metric"] == "gap")
        & (rows["benchmark"] == params.benchmark)
        & (rows["readout"] == params.readout)
    ]
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
            _by_language(
                f"{model} is {'overconfident' if gap > 0 else 'underconfident'}",
                rows[rows["run"] == model], float(gap),
            )
            for model, gap in gaps.items()
            if (rows["run"] == model).any()
        ],
        unit="languages",
        decided=(
            f"Counted by the {params.level:.0%} interval of the gap in each language, without a "
            "correction for their number: undecided if it holds 0."
        ),
    )  # fmt: skip


# -- paper 2: maximum softmax probabilities (MSP)


def _of_answers(config: Config, root: str) -> Finding:
    shown = msp_params.calibration_figure(config, root, "")
    error, level = shown.error, msp_params.intervals(config, root).bootstrap.level
    numbers = {"AUROC": "msp_auroc", "calibration error": error}
    columns = ["dataset", "prompt", "model", *numbers.values(), "calibration_error"]
    points = _read(root, "points", columns)
    found = _read(root, "correlations", ["dataset", "prompt", "x", "y", "r", "p"])
    found = found[found["x"] == "accuracy"].set_index("y")
    means = {name: f"{points[column].mean():.3f}" for name, column in numbers.items()}
    guess, gains = msp_params.guess(config, root), _gains(config, root)
    able = [] if guess is None else [
        _compared(root, "accuracy", guess, f"The accuracy is above that of a guess, {guess:.3g},")
    ]  # fmt: skip
    knows = _compared(root, "auroc", 0.5, "The AUROC is above that of a guess, 0.5,")

    def r(column: str) -> str:
        return f"r = {found['r'][column]:.2f}, p = {found['p'][column]:.2g}"

    def linked(column: str, more: str, less: str) -> str:
        if found["p"][column] >= ALPHA:
            return f"with no clear link to accuracy ({r(column)})"
        word = more if found["r"][column] > 0 else less
        return f"{word} in more accurate models ({r(column)})"

    return Finding(
        lead=(
            f"{''.join(map(_guessing, able))}The confidence of {len(points)} chat models misses "
            f"their accuracy by {means['calibration error']} on average (calibration error), "
            f"{linked(error, 'more', 'less')}; it tells right answers from wrong ones better than "
            f"a guess in {len(knows.holds)} of {knows.total} models (mean AUROC {means['AUROC']}), "
            f"{linked('msp_auroc', 'better', 'worse')}.{_gained(gains)}"
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
        parts=[
            *able,
            knows,
            *(
                _part(f"Abstaining gains points where a wrong answer costs {penalty:g},", rows)
                for penalty, rows in gains.items()
            ),
        ],
        unit="models",
        decided=(
            f"Counted by the {level:.0%} interval of each model, without a correction for their "
            "number: undecided if it holds what a guess has. Gains from abstaining are counted by "
            "their values."
        ),
        note=(
            f"The calibration error {means['calibration error']} is the mean over models, data "
            f"sets and phrasings, in bins of equal {'width' if 'width' in error else 'mass'}. With "
            "all answers of a model pooled in one set of bins of equal mass, as claim P1 tests it, "
            f"the mean is {points['calibration_error'].mean():.3f}: there, gaps of opposite sign "
            "cancel, and more answers share a bin."
        ),
    )


def _compared(root: str, measure: str, guess: float, says: str) -> Part:
    """The models whose interval of a measure lies above that of a guess."""
    columns = ["dataset", "model", "method", "measure", "prompt", "value", "ci_low", "ci_high"]
    rows = _read(root, "intervals", columns)
    rows = rows[(rows["method"] == "msp") & (rows["measure"] == measure)]
    return _part(says, rows.set_index("model"), guess)


def _guessing(able: Part) -> str:
    """Of how many models it is not shown that they answer better than a guess; none if of none."""
    number = able.total - len(able.holds)
    if not number:
        return ""
    who = "None" if number == able.total else f"Only {len(able.holds)}"
    return f"{who} of {able.total} models is shown to answer better than a guess (by accuracy). "


# -- paper 2: abstention


def _gains(config: Config, root: str) -> dict[float, pd.DataFrame]:
    """By the penalty of a wrong answer, what each model scores and gains (`value`) by abstaining.

    None of a study that has no mean scores over splits.
    """
    section = msp_params.abstention(config, root).abstention
    path = paths.STUDY_TABLE.format(root=root, name="scores.csv")
    table = msp_tables.read_table(path, ["dataset", "model", "k", "scheme", "method", "mean"])
    found = {}
    for scheme, penalty in section.schemes.items():
        scores = msp_tables.scores(table, scheme, section.main_k)
        if {"msp", "none"} <= set(scores) and scores["msp"].notna().any():
            scores = scores.reindex(table["model"].unique())
            gain = msp_tables.gains(scores, "msp")
            found[penalty] = scores.assign(value=gain, ci_low=nan, ci_high=nan)
    return found


def _gained(gains: dict[float, pd.DataFrame]) -> str:
    """The mean gains, as a sentence."""
    if not gains:
        return ""
    means = {penalty: float(rows["value"].mean()) for penalty, rows in gains.items()}
    told = " and ".join(
        f"{mean:+.1f} where a wrong answer costs {penalty:g}" for penalty, mean in means.items()
    )
    pays = {"raises": "pays", "lowers": "costs"}.get(_verb(list(means.values())), "changes")
    return (
        f" Abstaining where confidence is low {pays} points against the better of always and "
        f"never answering: {told}."
    )


def _abstention(config: Config, root: str) -> Detail | None:
    """A row for each model: its scores with and without abstention."""
    gains = _gains(config, root)
    if not gains:
        return None
    k = msp_params.abstention(config, root).abstention.main_k
    titles = [
        f"{title}, wrong costs {penalty:g}"
        for penalty in gains
        for title in ("never", "abstaining", "gain")
    ]
    models = next(iter(gains.values())).index
    made = [
        [str(model)]
        + [
            f"{rows[column][model]:{sign}.1f}"
            for rows in gains.values()
            for column, sign in (("none", ""), ("msp", ""), ("value", "+"))
        ]
        for model in models
    ]
    return Detail(
        key="abstention",
        name="Abstention",
        title="What abstention gains",
        about=(
            "A right answer scores 100, an abstention 0, and a wrong answer loses 100 times its "
            "cost. The model abstains below a threshold of its confidence (MSP), chosen on "
            f"{k} labelled questions of each data set. The gain is over the better of never "
            "abstaining and always abstaining, which scores 0. Scores are means over data sets "
            "and random splits."
        ),
        caption="Scores with and without abstention",
        rows=[["model", *titles], *made],
    )


def _read(root: str, name: str, columns: list[str]) -> pd.DataFrame:
    """The rows of a table of paper 2 on all data sets and phrasings together."""
    path = paths.STUDY_TABLE.format(root=root, name=f"{name}.csv")
    table = msp_tables.read_table(path, columns)
    return table[(table["dataset"] == msp_tables.ALL) & table["prompt"].isna()]
