"""Make the table of the Brier score's parts: calibration apart from accuracy.

The Brier score of the chosen answer, the mean of (confidence - correct)^2, is reliability -
resolution + uncertainty (Murphy 1973), up to what varies inside of bins. Reliability is the squared
calibration error, resolution how far confidences tell right answers from wrong ones, and
uncertainty a (1 - a) with the accuracy a. The first two are without the bias that noise adds
(`debiased_ece2`, `resolution`). The rows and files are those of the main table.
"""

from __future__ import annotations

from multical.errors import program
from multical.figures import metric_table, outputs
from multical.figures.params import Panel

METRICS = {
    "accuracy": "accuracy",
    "debiased_ece2": "reliability",
    "resolution": "resolution",
    "uncertainty": "uncertainty",
}


def main() -> None:
    metric_table.write(outputs.arguments(__doc__, Panel, ["summary"], outputs.TABLE), METRICS)


if __name__ == "__main__":
    program(main)
