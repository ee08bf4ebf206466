"""What SFT and smoothing change in a study of paper 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from multical import paths
from multical.figures import tables
from multical.figures.params import Conditions
from multical.names import metric_name, readout_name
from multical.page.finding_parts import (
    GROUPS,
    METRICS,
    Detail,
    Finding,
    Part,
    mean_values,
    part_by_language,
    signed,
    verb,
)
from multical.workflow.captions import listed

#: A smaller change of accuracy is marginal, as claim M2 has it
MARGINAL = 0.03
#: Metrics whose changes have intervals that hold the truth; those of ECE do not
TESTED = ("confidence", "accuracy", "debiased_ece2")
#: The one of calibration, by which the languages are told where a finding does not hold
SQUARED = "debiased_ece2"
ERROR = "calibration error ECE"


def find(params: Conditions) -> Finding:
    """What SFT changes, and what smoothing does to that."""
    base, plain, smoothed = conditions = tables.conditions(params)
    rows, where = mean_values(params, conditions)
    models = tables.models(rows)

    def numbers(before: float | None, after: float | None) -> str:
        return ", ".join(
            f"{name} {signed(_shifts(rows, metric, before, after))}"
            for metric, name in METRICS.items()
        )

    confidence, accuracy, ece = (_shifts(rows, metric, base, plain) for metric in METRICS)
    smoothing = _shifts(rows, "ece", plain, smoothed)
    moves = "hardly moves" if max(map(abs, accuracy)) < MARGINAL else verb(accuracy)
    return Finding(
        lead=(
            f"On average over {where}, fine-tuning (SFT) {verb(confidence)} the confidence of "
            f"{listed(models)} ({signed(confidence)}), {moves} the accuracy "
            f"({signed(accuracy)}) and {verb(ece)} the {ERROR} ({signed(ece)}); label smoothing "
            f"of {smoothed:g} in that training {verb(smoothing)} "
            f"{'it again' if verb(ece) == 'raises' else 'it'} "
            f"({signed(smoothing)} against SFT alone)."
        ),
        numbers=[
            f"SFT of {' and '.join(models)} changes {numbers(base, plain)} (means over {where}).",
            f"Smoothing {smoothed:g} in place of none changes {numbers(plain, smoothed)}.",
        ],
        parts=list(_parts(params)),
        unit="languages",
        decided=(
            f"Counted by the {100 * params.level:g} % interval of the change in each language: "
            "undecided if it includes 0. With so many intervals, some miss 0 by chance. After "
            "Holm's correction for all tests of the change (languages, readouts and metrics), only "
            f"those count whose p is smaller than {tables.ALPHA:g}. Calibration is counted by the "
            f"{metric_name(SQUARED)}, since changes of ECE cannot be tested."
        ),
        note=" ".join([*_in_english(params), _read_from(params.readout), *_otherwise(params)]),
    )


def _read_from(readout: str) -> str:
    """What confidence is, by the readout of the finding."""
    what = "letter" if readout.startswith("letter") else "text"
    return (
        f"Confidence is read from how likely the model finds the {what} of each option, by "
        f"{readout_name(readout)}."
    )


def _in_english(params: Conditions) -> Iterator[str]:
    """What changes in English, if the means leave it out."""
    base, plain, smoothed = conditions = tables.conditions(params)
    path = paths.METRICS.format(root=params.study)
    rows = tables.chosen(path, "metrics", params, conditions, metric=["ece"])
    english = rows[rows["language"] == "en"]
    if 0 < len(english) < len(rows):
        yield (
            "In English, which the means leave out, SFT changes ECE by "
            f"{signed(_shifts(english, 'ece', base, plain))}, and smoothing by "
            f"{signed(_shifts(english, 'ece', plain, smoothed))}."
        )


def _otherwise(params: Conditions) -> Iterator[str]:
    """What changes by the other readouts that all runs of the study's own have."""
    base, plain, smoothed = conditions = tables.conditions(params)
    rows = tables.read(paths.SUMMARY.format(root=params.study), "summary")
    rows = rows[rows["benchmark"] == params.benchmark]
    known = {str(name): set(part["run"]) for name, part in rows.groupby("readout", sort=False)}
    for name, runs in known.items():
        if name == params.readout or not runs >= known[params.readout]:
            continue
        found, where = mean_values(params.model_copy(update={"readout": name}), conditions)
        sft = signed(_shifts(found, "ece", base, plain))
        smoothing = signed(_shifts(found, "ece", plain, smoothed))
        yield (
            f"Read by {readout_name(name)} (means over {where}), SFT changes ECE by {sft}, and "
            f"smoothing by {smoothing}."
        )


def _shifts(
    rows: pd.DataFrame, metric: str, before: float | None, after: float | None
) -> list[float]:
    """By how much the mean of a metric changes in each model."""
    means = rows.set_index(["condition", "metric", "model"])["value"]
    change = means[tables.label(after)] - means[tables.label(before)]
    return [float(change[metric, model]) for model in tables.models(rows)]


def detail(params: Conditions) -> Detail:
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
            "over languages other than English (over all if there is no other), with their "
            f"{100 * params.level:g} % bootstrap intervals over questions."
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


def _parts(params: Conditions) -> Iterator[Part]:
    """By model, in which languages confidence and calibration change as their means do.

    None for a metric that the study lacks, or whose mean does not change.
    """
    means = _over_languages(params)
    changes = tables.compared(paths.EFFECTS.format(root=params.study), "effects", params)
    plain, smoothed = means["condition"].cat.categories
    for condition, what, metric in (
        (plain, "SFT", "confidence"),
        (plain, "SFT", SQUARED),
        (smoothed, f"Smoothing {params.smoothing:g}", SQUARED),
    ):
        values = _of(means, condition, metric).set_index("model")["value"]
        for model, mean in values[values != 0].items():
            rows = _of(changes, condition, metric)
            rows = rows[rows["model"] == model]
            alike = np.sign(rows["value"]) == np.sign(mean)
            corrected = int((alike & (rows["p_holm"] < tables.ALPHA)).sum())
            says = f"{what} {verb([mean])} the {metric_name(metric)} of {model}"
            yield replace(part_by_language(says, rows, mean), corrected=corrected)


def _of(rows: pd.DataFrame, condition: str, metric: str) -> pd.DataFrame:
    """The changes of a metric that lead to a condition."""
    return rows[(rows["condition"] == condition) & (rows["metric"] == metric)]
