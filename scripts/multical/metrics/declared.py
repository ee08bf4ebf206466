"""The names of readouts and metrics, read from the code that defines them.

So one definition is enough. To import the modules would load numpy and pandas at each start of
Snakemake; to parse them takes milliseconds.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any


def entries(module: str, table: str) -> dict[str, dict[str, Any]]:
    """The keys of a dict that a module of this room defines, each with the options of its value.

    An entry `"ece": Metric(ece, binned=True)` has the options `{"binned": True}`.
    """
    source = (Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == table:
            assert isinstance(node.value, ast.Dict)
            return {
                ast.literal_eval(key): {
                    option.arg: option.value.value
                    for option in getattr(value, "keywords", [])
                    if option.arg and isinstance(option.value, ast.Constant)
                }
                for key, value in zip(node.value.keys, node.value.values, strict=True)
                if key is not None
            }
    raise LookupError(f"{module}.py: no {table}")


_METRICS = entries("definitions", "METRICS")

#: Readouts that are a softmax of option scores
DISTRIBUTIONS = tuple(entries("readouts", "SCORES"))
READOUTS = tuple(dict.fromkeys([*entries("readouts", "READOUTS"), *DISTRIBUTIONS]))
METRICS = tuple(_METRICS)
#: What each metric needs from a readout: a score, a probability, or a distribution
NEEDS = {name: options.get("needs") for name, options in _METRICS.items()}
if unknown := [name for name, needs in NEEDS.items() if needs is None]:
    raise LookupError(f"definitions.py: METRICS: no needs= for {', '.join(unknown)}")
#: Metrics whose changes are tested
TESTED = tuple(name for name, options in _METRICS.items() if options.get("tested"))
#: Metrics of recalibrated confidences
RECALIBRATED = tuple(name for name, options in _METRICS.items() if options.get("recalibrated"))
