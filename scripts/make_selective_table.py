"""Make the table of selective prediction: does confidence tell right answers from wrong ones?

A row per model, condition and group of languages: the mean over the languages other than English,
and the reference language. Beside AURC and AUGRC are those of a confidence that says nothing
(random) and of one that is sure of right answers only (oracle), at the same accuracy. These are
computed by language before the mean. The CSV has full precision and the ends of each bootstrap
interval. The LaTeX table needs the packages booktabs and multirow.
"""

from __future__ import annotations

import pandas as pd

from multical.errors import program
from multical.figures import latex, outputs, tables
from multical.figures.params import ByLanguage
from multical.metrics.selective import baselines
from multical.stats.blocks import groups

TABLES = ("summary", "metrics")
GROUP = "non-english"
METRICS = ["accuracy", "auroc", "aurc", "augrc"]
#: Columns of the LaTeX table below their headings
COLUMNS = {
    "accuracy": ("accuracy", ""),
    "auroc": ("AUROC", ""),
    "aurc": ("AURC", "model"),
    "aurc_random": ("AURC", "random"),
    "aurc_oracle": ("AURC", "oracle"),
    "augrc": ("AUGRC", "model"),
    "augrc_random": ("AUGRC", "random"),
    "augrc_oracle": ("AUGRC", "oracle"),
}


def main() -> None:
    args = outputs.arguments(__doc__, ByLanguage, TABLES, outputs.TABLE)
    conditions = tables.conditions(args.params)
    summary, by_language = (
        tables.chosen(getattr(args, kind), kind, args.params, conditions, metric=METRICS)
        for kind in TABLES
    )
    table = compared(summary, by_language, args.params)
    latex.write(args, table, tabular(table), index=True)


def compared(summary: pd.DataFrame, by_language: pd.DataFrame, params: ByLanguage) -> pd.DataFrame:
    """A row per model, group and condition, from the two tables."""
    reference, largest = params.reference_language, by_language.groupby("language")["n"].max()
    sizes = {str(language): int(n) for language, n in largest.items()}
    counted = groups(sizes, dict.fromkeys(sizes, ""), params.least_questions)
    members = {GROUP: counted.get(GROUP, []), reference: [reference]}
    own = by_language[by_language["language"] == reference].assign(group=reference, languages=1)
    rows = pd.concat([summary[summary["group"] == GROUP], own])
    table = tables.by_metric(rows, {"group": list(members)}, METRICS)
    answered = by_language[by_language["metric"] == "accuracy"]
    wrong = ((1 - answered["value"]) * answered["n"]).round()
    trivial = answered.assign(**baselines(answered["n"], wrong))
    names = [name for name in COLUMNS if name not in METRICS]
    means = {
        group: trivial[trivial["language"].isin(chosen)]
        .groupby(["model", "condition"], observed=True)[names]
        .mean()
        for group, chosen in members.items()
    }
    found = pd.concat(means, names=["group"]).reorder_levels(["model", "group", "condition"])
    return table.join(found.reindex(table.index))


def tabular(table: pd.DataFrame) -> str:
    """The LaTeX table with three digits, and intervals in small type below their values."""
    lines, number = {}, latex.rounded(3)
    for (model, group, condition), (_, row) in zip(
        table.index.to_list(), table.iterrows(), strict=True
    ):
        key = (model, tables.GROUPS.get(group, group), condition)
        lines[(*key, "value")] = [number(row[name]) for name in COLUMNS]
        lines[(*key, "interval")] = [
            latex.interval(row, name) if name in METRICS else "" for name in COLUMNS
        ]
    names = ["model", "languages", "condition", "line"]
    frame = pd.DataFrame.from_dict(lines, orient="index")
    frame.columns = pd.MultiIndex.from_tuples(COLUMNS.values())
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=names)
    return latex.by_model_and_group(frame.style.hide(axis="index", level="line"), len(COLUMNS))


if __name__ == "__main__":
    program(main)
