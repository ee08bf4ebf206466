"""A study of the committed sample logs of lm-evaluation-harness (support/data/harness)."""

from __future__ import annotations

from typing import Any

LOGS = "tests/support/data/harness"
TEXTS, LETTERS = f"{LOGS}/samples_quiz_2*.jsonl", f"{LOGS}/samples_quiz_letters_*.jsonl"
RUN = {"model": "tiny", "benchmark": "quiz", "prompt": "harness", "samples": {"en": TEXTS}}
BOTH = RUN | {"samples": {"en": LETTERS, "fr": LETTERS}, "id_field": "question"}
SFT: dict[str, Any] = {"sft": "own", "smoothing": 0.1, "seed": 3}
TUNED = RUN | SFT
METRICS = {
    "metrics": [
        "accuracy",
        "confidence",
        "ece",
        "ece_equal_mass",
        "rmsce",
        "debiased_ece2",
        "brier",
        "nll",
        "auroc",
        "entropy",
    ],
    "bins": 5,
    "bootstrap": {"replicates": 20, "seed": 0, "level": 0.95},
}
FIGURES = {"benchmark": "quiz", "readout": "text_sum", "reference_language": "en"}


def study(*runs: dict[str, Any], readout: str = "text_sum", **figures: Any) -> dict[str, Any]:
    """A study whose runs all have a readout; of base models unless `figures` say more."""
    return {
        "kind": "harness",
        "runs": list(runs),
        "metrics": METRICS | {"readouts": [readout]},
        "figures": FIGURES | {"readout": readout} | figures,
    }
