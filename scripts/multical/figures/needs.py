"""What figures and tables need of a study, known before a job runs. Tests compare with programs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from multical.metrics import declared
from multical.metrics.params import Metric, Readout

#: The metrics that a product needs, by the name of its rule without plot_ or make_
METRICS: dict[str, tuple[Metric, ...]] = {
    "headline": ("ece", "confidence", "accuracy"),
    "ece_by_lang": ("ece",),
    "confidence_vs_accuracy_shift": ("accuracy", "confidence"),
    "gap_vs_accuracy": ("accuracy", "gap"),
    "entropy_by_lang": ("entropy",),
    "smoothing_sweep": ("ece", "accuracy", "confidence"),
    "ece_by_resource": ("ece",),
    "conditions_by_resource": ("accuracy", "confidence", "ece"),
    "culture": ("accuracy", "confidence", "ece"),
    "ece_vs_fertility": ("ece",),
    "recalibration_transfer": ("ece",),
    "main": (
        "accuracy", "confidence", "ece", "ece_equal_mass", "rmsce", "debiased_ece2", "brier", "nll",
        "auroc",
    ),
    "decomposition": ("accuracy", "debiased_ece2", "resolution", "uncertainty"),
    "recalibration": ("accuracy", "confidence", "ece", "debiased_ece2"),
    "selective": ("accuracy", "auroc", "aurc", "augrc"),
}  # fmt: skip
#: Products that compare SFT runs with base models
COMPARISONS = {
    "confidence_vs_accuracy_shift", "smoothing_sweep", "effects_by_lang", "effects_by_resource",
    "p_values",
}  # fmt: skip
#: Readouts that are no probability
SCORES = {"max_logit", "margin", "entropy"}


def metrics_of(readout: Readout) -> set[str]:
    """The metrics that a readout of our records has."""
    has = {"score"}
    if readout not in SCORES:
        has.add("probability")
    # msp is the probability of the letter that was chosen, as letter is
    if readout in (*declared.DISTRIBUTIONS, "msp"):
        has.add("distribution")
    return {name for name, needs in declared.NEEDS.items() if needs in has}


def faults(
    products: Iterable[str], readout: Readout, metrics: Collection[str], tuned: bool
) -> Iterator[tuple[str, str]]:
    """Why a study cannot have some products: a key of the study, and what is wrong with it.

    `readout` is that of its figures, `metrics` are those that it computes, and `tuned` says whether
    its figures show SFT runs.
    """
    products = list(products)
    needed = {metric for name in products for metric in METRICS.get(name, ())}
    what = (
        f"{products[0]} needs" if len(products) == 1 else "the headline's tables and figures need"
    )
    if absent := sorted(needed - metrics_of(readout)):
        yield "figures.readout", f"found {readout}, which has no {', '.join(absent)} that {what}"
    elif missing := [name for name in declared.METRICS if name in needed.difference(metrics)]:
        yield "metrics.metrics", f"found none of {', '.join(missing)}, which {what}, expected all"
    if not tuned and (names := sorted(COMPARISONS.intersection(products))):
        found = "found null, expected the SFT data of runs, with which base models are compared in"
        yield "figures.sft", f"{found} {', '.join(names)}"
