"""What a study of base models alone finds: whether they are as often right as they claim."""

from __future__ import annotations

from multical import paths
from multical.figures import tables
from multical.figures.params import Conditions
from multical.page.finding_parts import (
    METRICS,
    Finding,
    mean_values,
    part_by_language,
    signed,
)
from multical.workflow.captions import listed


def find(params: Conditions) -> Finding:
    """Which models are overconfident, and in which languages."""
    rows, where = mean_values(params, [None])
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
            f"{_claiming([str(model) for model in gaps.index], over)}: mean confidence minus "
            f"accuracy is {signed(gaps.to_list())} for "
            f"{listed([str(model) for model in gaps.index])} (means over {where})."
        ),
        numbers=[
            f"{model}: "
            + ", ".join(f"{name} {row[metric]:.3f}" for metric, name in METRICS.items())
            for model, row in means.iterrows()
        ],
        parts=[
            part_by_language(
                f"{model} is {'overconfident' if gap > 0 else 'underconfident'}",
                rows[rows["run"] == model], float(gap),
            )
            for model, gap in gaps.items()
            if (rows["run"] == model).any()
        ],
        unit="languages",
        decided=(
            f"Counted by the {100 * params.level:g} % interval of the gap in each language, "
            "without a correction for their number: undecided if it includes 0."
        ),
    )  # fmt: skip


def _claiming(models: list[str], over: list[str]) -> str:
    """Which models are overconfident, in words."""
    if len(models) == 1:
        claims = "claims" if over else "does not claim"
        return f"{models[0]} {claims} to be right more often than it is"
    if not over:
        return f"None of {len(models)} models claims to be right more often than it is"
    who = f"{len(over)} of {len(models)} models ({', '.join(over)})"
    return f"{who} claim to be right more often than they are"
