"""How figures, tables, verdicts and the page name metrics and readouts, and how they say sizes.

What code and config call them is the key. docs/glossary.md defines them. They are apart from
`multical.labels`, so that no metric is computed again for a name.
"""

from __future__ import annotations

#: All readouts
_READOUTS = {
    "letter": "softmax of the letters",
    "letter_full": "probability of the letter",
    "text_ppl": "perplexity of the texts",
    "text_sum": "likelihood of the texts",
    "text_byte": "likelihood per byte",
    "text_pmi": "mutual information (PMI)",
    "msp": "maximum softmax probability (MSP)",
    "max_logit": "max logit",
    "margin": "margin",
    "entropy": "negative entropy",
}
#: Metrics that are not called by their keys
_METRICS = {
    "confidence_right": "confidence in right answers",
    "confidence_wrong": "confidence in wrong answers",
    "confidence_at_equal_accuracy": "confidence, same accuracy",
    "gap": "confidence - accuracy",
    "ece": "ECE",
    "ece_equal_mass": "ECE, bins of equal mass",
    "rmsce": "RMS calibration error",
    "mce": "maximum calibration error",
    "debiased_ece2": "debiased ECE\u00b2",
    "smece": "smooth ECE",
    "ece_classwise": "classwise ECE",
    "ece_all": "ECE of all options",
    "brier": "Brier score",
    "nll": "negative log-likelihood",
    "normalised_entropy": "entropy, normalised",
    "auroc": "AUROC",
    "aurc": "AURC",
    "augrc": "AUGRC",
}


def metric_name(metric: str) -> str:
    """What a metric is called."""
    return _METRICS.get(metric, metric.replace("_", " "))


def readout_name(readout: str) -> str:
    """What a readout is called."""
    return _READOUTS[readout]


def billions(size: float) -> str:
    """A model's size, in billions of parameters, to three digits."""
    return f"{size:.3g}"
