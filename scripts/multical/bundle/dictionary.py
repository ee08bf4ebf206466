"""A page on the columns of records, metrics, effects and verdicts, from their schemas.

`python -m multical.bundle.dictionary` prints docs/data.md. A test fails if the page is out of date,
if a table has another column, or if a column has no meaning.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import pyarrow as pa
from pydantic import BaseModel

from multical import records
from multical.claims.schema import Claim, Part, Tested
from multical.labels import LEVELS
from multical.metrics.definitions import METRICS
from multical.metrics.readouts import READOUTS
from multical.stats.comparisons import COMPARISON, CORRECTIONS
from multical.stats.effects import CROSSED
from multical.stats.estimates import BY_LANGUAGE, INTERVAL

HEAD = """\
# The data, column by column

Records hold what models said, and nothing computed from it. All tables are computed from records.
`make schema` writes this page from the code.

    from glob import glob
    import pandas as pd
    answers = pd.concat(map(pd.read_parquet, glob("results/demo/records/*/*.parquet")))
    answers["right"] = answers["text_logliks"].map(lambda row: row.argmax()) == answers["gold"]
    print(answers.groupby(["run", "language"], observed=True)["right"].mean())

These five lines read all records of the demo and print the accuracy of the readout `text_sum`, as
it stands in `metrics.csv`. In DuckDB, `SELECT run, count(*) FROM 'results/demo/records/*/*.parquet'
GROUP BY run` counts the answers of each run. Each file has the meaning of its columns, too:
`pyarrow.parquet.read_schema(FILE).field("gold").metadata`.

Numbers in CSV files have all their digits. An empty cell is a value that is not defined.
"""
HEADER = "| column | type | meaning |\n|---|---|---|"
TYPES = {
    "bool": "true or false", "int8": "whole number", "int32": "whole number",
    "int64": "whole number", "float": "number, 32 bits", "double": "number, 64 bits",
    "string": "text",
}  # fmt: skip

TEXT, NUMBER, COUNT = "text", "number", "whole number"
_CORRECTIONS = {"holm": "Holm", "bh": "Benjamini and Hochberg"}
_CORRECTED = {
    f"{p}_{method}": (NUMBER, f"`{p}`, corrected for all tests of the family ({by})")
    for p in ("p", "p_all")
    for method, by in _CORRECTIONS.items()
}
#: Type and meaning of each column of a table
COLUMNS: dict[str, tuple[str, str]] = {
    "language": (TEXT, "BCP 47 tag"),
    "resource_level": (TEXT, f"of the language: {', '.join(LEVELS)}"),
    "readout": (TEXT, "how answers and confidences are read off the scores, see below"),
    "metric": (TEXT, "see below; in effects also confidence_at_equal_accuracy, the change of "
               "confidence that would be left if accuracy stayed as before"),
    "value": (NUMBER, "the metric; in effects the metric after minus the metric before, a mean "
              "over seeds and, in a group, over languages"),
    "ci_low": (NUMBER, "lower end of the interval of `value`"),
    "ci_high": (NUMBER, "upper end of the interval of `value`"),
    "n": (COUNT, "questions"),
    "before": (TEXT, "condition before the change: base, or SFT"),
    "after": (TEXT, "condition after the change: SFT, or SFT + smoothing b"),
    "seeds": (COUNT, "trainings of each condition"),
    "seed_sd": (NUMBER, "standard deviation of the change over seeds; empty for one seed"),
    "se": (NUMBER, "standard error of `value` over questions, and over trainings if there are "
           "several"),
    "d_z": (NUMBER, "Cohen's d of paired differences, `value` / (`se` sqrt(n))"),
    "p": (NUMBER, "p-value of a two-sided t-test of whether `value` is 0, over questions, and over "
          "trainings if there are several"),
    "group": (TEXT, "languages: non-english, all, a resource level, or the difference of two "
              "levels such as low-high"),
    "languages": (COUNT, "languages of the group in which the metric is defined"),
    "rises": (COUNT, "languages of the group in which the metric rises"),
    "falls": (COUNT, "languages of the group in which the metric falls"),
    "se_all": (NUMBER, "standard error of `value` over questions and languages"),
    "low_all": (NUMBER, "lower end of the interval of `value` over questions and languages"),
    "high_all": (NUMBER, "upper end of the interval of `value` over questions and languages"),
    "p_all": (NUMBER, "p-value of the same test over questions and languages"),
    **_CORRECTED,
}  # fmt: skip
_CHANGE = [*INTERVAL, "seed_sd", "se", "d_z"]


def _with_corrections(p: str) -> list[str]:
    return [p, *(f"{p}_{method}" for method in CORRECTIONS)]


#: The columns of each table, in their order
TABLES: dict[str, list[str]] = {
    "metrics.csv": BY_LANGUAGE,
    "stats/effects.csv": [
        *COMPARISON, "readout", "metric", "language", "resource_level", *_CHANGE,
        *_with_corrections("p"), "n",
    ],
    "stats/effects_over_languages.csv": [
        *COMPARISON, "readout", "metric", "group", "languages", *_CHANGE, *_with_corrections("p"),
        "rises", "falls", *(name for name in CROSSED if name != "p_all"),
        *_with_corrections("p_all"),
    ],
}  # fmt: skip
ABOUT = {
    "metrics.csv": "A row for each run, benchmark, language, readout and metric.",
    "stats/effects.csv": "A row for each change, language, readout and metric: what SFT does to a "
    "base model, and smoothing to SFT, for the same questions. A family of tests is all rows of a "
    "change.",
    "stats/effects_over_languages.csv": "The same over groups of languages. A family of tests is "
    "all rows of a group.",
}
#: Keys of `claims/verdicts.json`, apart from those of a claim and its parts in claims.yaml
DOCUMENT = {
    "study": (TEXT, "root of the study"),
    "kind": (TEXT, "kind of the study"),
    "command": (TEXT, "computes the verdicts"),
    "level": (NUMBER, "level of intervals"),
    "power": (NUMBER, "chance with which a test finds an effect of the size `detectable`"),
    "claims": ("mapping", "verdicts by name of the claim"),
}
VERDICT = {
    "verdict": (TEXT, "reproduced, contradicted, inconclusive, or not testable here"),
    "reason": (TEXT, "why the claim is not testable here"),
    "parts": ("list", "measurements of the parts; empty if the claim is not testable here"),
    "seconds": (NUMBER, "time that it took"),
    "study": (TEXT, "only where another study tested the claim: its root"),
}
_STATISTIC = {
    "value": (NUMBER, "the statistic"),
    "low": (NUMBER, "lower end of its interval; null if it has none"),
    "high": (NUMBER, "upper end of its interval; null if it has none"),
}
_DETECTABLE = (
    NUMBER,
    "the value that the tests would find with the chance `power`; null if unknown",
)
MEASURED = {
    "said": (TEXT, "what is measured, in words"),
    **_STATISTIC,
    "detail": (TEXT, "more on it, in words"),
    "tests": ("list", "the tests"),
    "passed": (COUNT, "tests with `p_adjusted` under the claim's `alpha`"),
    "detectable": _DETECTABLE,
    "status": (TEXT, "holds, contradicted, or undecided"),
    "variants": (
        "list",
        "the same by other choices (of, value, p, status); no verdict rests on it",
    ),
}
TEST = {
    "of": (TEXT, "what is tested, such as a model"),
    **_STATISTIC,
    "p": (NUMBER, "p-value of the claim: a small one speaks for it"),
    "p_adjusted": (NUMBER, "`p` after the claim's correction"),
    "p_against": (NUMBER, "p-value of the contrary: a small one speaks against the claim"),
    "p_against_adjusted": (NUMBER, "`p_against` after Holm's correction"),
    "detectable": _DETECTABLE,
}


def page() -> str:
    """The whole page, in Markdown."""
    metrics = {name: metric.function for name, metric in METRICS.items()}
    return "\n".join(
        [
            HEAD,
            "## Records\n",
            f"`records/RUN/BENCHMARK.parquet`: a row for each {', '.join(records.KEY)}.\n",
            _table([(field.name, *_of_records(field.name)) for field in records.SCHEMA]),
            *(_section(name, columns) for name, columns in TABLES.items()),
            "## Readouts\n",
            _documented("readout", READOUTS),
            "## Metrics\n",
            _documented("metric", metrics),
            "## Verdicts\n",
            "`claims/verdicts.json`, at its first level:\n",
            _table(_rows(DOCUMENT)),
            f"A claim has the keys {_keys(Claim)} of `claims.yaml`, and:\n",
            _table(_rows(VERDICT)),
            f"A part has its own keys of `claims.yaml`, {_keys(Tested)} and those of its statistic "
            f"({_statistics()}), and:\n",
            _table(_rows(MEASURED)),
            "A test of a part has:\n",
            _table(_rows(TEST)),
        ]
    )


def _section(name: str, columns: list[str]) -> str:
    rows = [(x, *(COLUMNS[x] if x in COLUMNS else _of_records(x))) for x in columns]
    return f"## `{name}`\n\n{ABOUT[name]}\n\n{_table(rows)}"


def _of_records(column: str) -> tuple[str, str]:
    """Type and meaning of a column of records, which tables may have too."""
    field = records.SCHEMA.field(column)
    kind, is_list = field.type, pa.types.is_list(field.type)
    kind = kind.value_type if is_list or pa.types.is_dictionary(kind) else kind
    words = f"list of {TYPES[str(kind)]}" if is_list else TYPES[str(kind)]
    return words + ", or null" * field.nullable, field.metadata[b"doc"].decode()


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    lines = [f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in rows]
    return "\n".join([HEADER, *lines, ""])


def _rows(meanings: Mapping[str, tuple[str, str]]) -> list[tuple[str, str, str]]:
    return [(name, *meaning) for name, meaning in meanings.items()]


def _documented(word: str, functions: Mapping[str, Any]) -> str:
    """A table of the first paragraph of each function's docstring."""
    lines = [f"| `{name}` | {described(function)} |" for name, function in functions.items()]
    return "\n".join([f"| {word} | meaning |", "|---|---|", *lines, ""])


def described(function: Any) -> str:
    """The first paragraph of a function's docstring, in one line."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


def _keys(model: type[BaseModel]) -> str:
    """The keys of a claim or part that its verdict repeats."""
    return ", ".join(f"`{x}`" for x in model.model_fields if x not in ("parts", "tested_on"))


def _statistics() -> str:
    """The names of all statistics of parts."""
    union, _ = get_args(Part)
    return ", ".join(
        f"`{get_args(kind.model_fields['statistic'].annotation)[0]}`" for kind in get_args(union)
    )


if __name__ == "__main__":
    print(page(), end="")
