"""Point estimates by peers in a loop over cells; prints seconds, and the last cell's values.

Runs in the peers' own environment. Arrays are made ready before the clock starts.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch

torch.set_num_threads(1)


def main() -> None:
    peer, path = sys.argv[1:]
    with np.load(path) as arrays:
        cells = {name: arrays[name] for name in arrays}
    seconds, last = {"torchmetrics": torchmetrics, "netcal": netcal}[peer](cells)
    print(json.dumps({"seconds": seconds, "last": last}))


def torchmetrics(cells: dict[str, np.ndarray]) -> tuple[float, dict[str, float]]:
    from torchmetrics.classification import (
        BinaryAUROC,
        MulticlassAccuracy,
        MulticlassCalibrationError,
    )

    arrays = {name: torch.from_numpy(values) for name, values in cells.items()}
    options = arrays["probabilities"].shape[-1]
    multiclass = {
        "accuracy": MulticlassAccuracy(options, average="micro"),
        "ece": MulticlassCalibrationError(options, n_bins=15, norm="l1"),
        "mce": MulticlassCalibrationError(options, n_bins=15, norm="max"),
    }
    auroc = BinaryAUROC()
    start = time.perf_counter()
    for index in range(len(arrays["gold"])):
        values = {}
        for name, metric in multiclass.items():
            values[name] = float(metric(arrays["probabilities"][index], arrays["gold"][index]))
            metric.reset()
        right = arrays["correct"][index].long()
        values["auroc"] = float(auroc(arrays["confidence"][index], right))
        auroc.reset()
    return time.perf_counter() - start, values


def netcal(cells: dict[str, np.ndarray]) -> tuple[float, dict[str, float]]:
    from netcal.metrics import ECE, MCE

    metrics = {"ece": ECE(15), "mce": MCE(15)}
    start = time.perf_counter()
    for probabilities, gold in zip(cells["probabilities"], cells["gold"], strict=True):
        values = {name: float(m.measure(probabilities, gold)) for name, m in metrics.items()}
    return time.perf_counter() - start, values


if __name__ == "__main__":
    main()
