"""Make the table of p-values: are the changes by SFT and smoothing more than chance?

A row per model, comparison and metric. The change is the mean over the languages other than
English. Its tests take questions as the sample (`p`), or questions and languages (`p_all`).
Further columns are the numbers of languages, English included, in which the metric rises or falls
significantly, and `p_all` by resource level. The CSV has both corrections for the number of
tests, the LaTeX table (package booktabs) only Holm's. A test that could not be made has an empty
cell in the CSV and a dash in LaTeX.
"""

from __future__ import annotations

import pandas as pd

from multical.errors import program
from multical.figures import latex, outputs, tables
from multical.figures.params import Conditions
from multical.labels import UNKNOWN

TABLES = ("effects", "effects_over_languages")
ROW = ["model", "condition", "metric"]
GROUP = "non-english"
CORRECTIONS = ("holm", "bh")


def main() -> None:
    args = outputs.arguments(__doc__, Conditions, TABLES, outputs.TABLE)
    table = wide({kind: getattr(args, kind) for kind in TABLES}, args.params)
    latex.write(args, table, tabular(table), index=True)


def wide(paths: dict[str, str], params: Conditions) -> pd.DataFrame:
    """A row per (model, condition, metric), from the two tables."""
    languages, over = (ordered(tables.compared(paths[kind], kind, params)) for kind in TABLES)
    means = over[over["group"] == GROUP].set_index(ROW)
    columns = ["before", "after", "seeds", "languages", "value", "ci_low", "ci_high", "seed_sd"]
    tests = [f"{test}_{end}" for test in ("p", "p_all") for end in CORRECTIONS]
    table = means[[*columns, "rises", "falls", *tests]]
    for end in CORRECTIONS:
        change = languages[languages[f"p_{end}"] < tables.ALPHA].set_index(ROW)["value"]
        for name, mask in (("rise", change > 0), ("fall", change < 0)):
            count = mask.groupby(level=ROW, observed=True).sum()
            table = table.assign(**{f"{name}_{end}": count.reindex(table.index, fill_value=0)})
    levels = [level for level in tables.LEVELS if level != UNKNOWN or level in over["group"].array]
    for end in CORRECTIONS:
        p = over.pivot(index=ROW, columns="group", values=f"p_all_{end}").reindex(table.index)
        table = table.assign(**{f"{level}_{end}": p.get(level) for level in levels})
    counts = ["seeds", "languages", "rises", "falls"]
    return table.astype(dict.fromkeys(counts, int)).sort_index().droplevel("condition")


def ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Sort models in the order of the table, and metrics in the order of `CHANGED`."""
    return rows.assign(
        model=pd.Categorical(rows["model"], tables.models(rows)),
        metric=pd.Categorical(rows["metric"], list(tables.CHANGED)),
    )


def tabular(table: pd.DataFrame) -> str:
    """The LaTeX table, with three digits and Holm's correction."""
    rows, groups = [], [level for level in tables.LEVELS if f"{level}_holm" in table]
    for (model, metric), row in zip(
        table.index.to_list(), table.to_dict(orient="records"), strict=True
    ):
        change = f"{row['value']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"
        p = [small(row[f"{test}_holm"]) for test in ("p", "p_all")]
        counts = f"{row['rise_holm']} / {row['fall_holm']}"
        levels = [small(row[f"{level}_holm"]) for level in groups]
        compared = f"{row['before']} to {row['after']}"
        rows.append([model, compared, tables.CHANGED[metric], change, *p, counts, *levels])
    names = ["model", "comparison", "metric", "change", "questions", "and languages"]
    names += ["rise / fall", *groups]
    style = pd.DataFrame(rows, columns=names).style.hide(axis="index")
    style.format(escape="latex", subset=["model", "comparison"])
    return style.to_latex(hrules=True, column_format="lllr" + "r" * (3 + len(groups)))


def small(p: float) -> str:
    """A p-value, or a dash if there is no test."""
    if pd.isna(p):
        return "--"
    return r"$<$.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


if __name__ == "__main__":
    program(main)
