"""What the programs of study 2 share: their command line, their readouts, their tables.

They serve both kinds of it, `released` and `msp`, our own runs: a released answer has a
confidence, an own one the logits of its letters.

A table has a column `dataset`, `all` or a data set's id, and a column `model`, the
study's name of it. It is written as CSV in full precision, as LaTeX, and with a sidecar.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multical.errors import InputError
from multical.files import atomic
from multical.metrics.abstention import file_order
from multical.metrics.readouts import READOUTS, Readout
from multical.provenance import sidecar

#: The study's methods: name in the tables, readout of the records, name in the files.
METHODS = {
    "msp": ("msp", "norm_logits"),
    "maxlogit": ("max_logit", "raw_logits"),
    "margin": ("margin", "margin"),
    "entropy": ("entropy", "entropy"),
}
METHOD_NAMES = {
    "msp": "MSP",
    "maxlogit": "Max Logit",
    "margin": "Margin",
    "entropy": "Entropy",
    "none": "No abstention",
}
ALL = "all"


def parser(description: str | None, keys: tuple[str, ...]) -> argparse.ArgumentParser:
    """The arguments of every program of the study; `keys` are those of `--params`."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--params", required=True, help="JSON object with " + ", ".join(keys))
    found.add_argument("--code", required=True, help="fingerprint of the code, for the sidecars")
    return found


def parameters(text: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """Parse `--params`: a JSON object of exactly `keys`."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--params: {text!r}, expected a JSON object ({error})") from error
    if not isinstance(found, dict) or set(found) != set(keys):
        have = sorted(found) if isinstance(found, dict) else found
        raise InputError(f"--params: found {have}, expected the keys {sorted(keys)}")
    if odd := [name for name in found.get("methods", []) if name not in METHODS]:
        raise InputError(f"--params: methods: found {odd}, expected some of {list(METHODS)}")
    return found


def names(params: Mapping[str, Any]) -> dict[str, str]:
    """The study's name of each model, by its run in the records, in the order of the tables."""
    return {model["file"]: model["name"] for model in params["models"]}


def dataset_names(params: Mapping[str, Any]) -> dict[str, str]:
    """The printed name of `all` and of each data set, by its id."""
    return {ALL: "All data sets"} | {item["id"]: item["name"] for item in params["datasets"]}


def is_released(frame: pd.DataFrame) -> bool:
    """Are records those of released outputs, or of our own runs."""
    return bool(frame["correct"].notna().any())


def answers(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    """The rows of records that have the confidence of `method`, or the letters for it."""
    column = METHODS[method][0]
    if column not in frame or not is_released(frame):
        column = "letter_logits"
    return frame[frame[column].notna()]


def questions(rows: pd.DataFrame) -> pd.Series:
    """The question of each row; a released one may have a second answer, `{id}.raw`."""
    return rows["question_id"].str.removesuffix(".raw")


def readout(rows: pd.DataFrame, method: str) -> Readout:
    """The readout of `method` of rows that have it."""
    return READOUTS[METHODS[method][0]](rows)


def parts(
    frame: pd.DataFrame, params: Mapping[str, Any], method: str, by_prompt: bool
) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Rows of each (data set, model) or (data set, model, phrasing), in the config's order.

    Models without the confidence of `method` are left out. Raises `InputError` for a
    model or data set of the config that the records lack.
    """
    rows = answers(frame, method)
    by = ["benchmark", "language", "run"] + ["prompt"] * by_prompt
    groups = dict(iter(rows.groupby(by, observed=True)))
    prompts = [str(name) for name in sorted(frame["prompt"].unique())] if by_prompt else [""]
    for item in params["datasets"]:
        for model in params["models"]:
            if method == "maxlogit" and not model["max_logit"]:
                continue
            for prompt in prompts:
                key = (item["benchmark"], item["language"], model["file"])
                key += (prompt,) if by_prompt else ()
                if key not in groups:
                    raise InputError(f"records: no {method} of {key}, which the config names")
                keys = {"dataset": item["id"], "model": model["name"], "file": model["file"]}
                yield keys | ({"prompt": prompt} if by_prompt else {}), groups[key]


def in_split_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one (data set, model) in the order that its seeded split starts from.

    That of the authors' files where the answers are theirs; for own runs by phrasing and
    question, which is our own design.
    """
    prompts = rows["prompt"].astype(str).to_list()
    if is_released(rows):
        return rows.iloc[file_order(questions(rows).to_numpy(np.int64), prompts)]
    return rows.iloc[np.lexsort((rows["question_id"].to_numpy(str), np.asarray(prompts)))]


def check_main_k(params: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """Raise `InputError` unless `main_k` answers of each data set leave some to test."""
    for dataset, size in sizes.items():
        if params["main_k"] >= size:
            raise InputError(
                f"abstention.main_k: found {params['main_k']}, expected fewer than the {size} "
                f"answers of a model to {dataset}, all phrasings together"
            )


def scopes(params: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """`all` with all data sets, and each data set with itself."""
    ids = [item["id"] for item in params["datasets"]]
    return [(ALL, ids), *((name, [name]) for name in ids)]


def in_order(table: pd.DataFrame, params: Mapping[str, Any]) -> pd.DataFrame:
    """Sort by data set, `all` first, then by model, as in the config; ties keep their order."""
    ranks = {
        "dataset": list(dataset_names(params)),
        "model": list(names(params).values()),
    }
    return table.sort_values(
        [name for name in ranks if name in table],
        key=lambda column: column.map(ranks[str(column.name)].index),
        kind="stable",
        ignore_index=True,
    )


def read_table(path: str | Path, columns: list[str]) -> pd.DataFrame:
    """A table of the study; raise `InputError` when it is unreadable or lacks a column."""
    try:
        # Only an empty cell is missing: a model may be called `nan`.
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable table ({error})") from error
    missing = [name for name in columns if name not in table]
    if missing or table.empty:
        raise InputError(f"{path}: no column {missing} or no rows, expected {columns}")
    return table


def write_table(
    path: str | Path,
    table: pd.DataFrame,
    printed: pd.DataFrame,
    args: argparse.Namespace,
    inputs: list[str],
    started: float,
    seed: int | None = None,
) -> None:
    """Write `path` (.csv), and beside it LaTeX of `printed` (.tex) and a sidecar (.json)."""
    path = Path(path)
    with atomic(path) as csv, atomic(path.with_suffix(".tex")) as tex:
        table.to_csv(csv, index=False, lineterminator="\n")
        tex.write_text(latex(printed, dataset_names(args.params)), encoding="utf-8")
    sidecar.write_sidecar(
        path.with_suffix(".json"),
        study=args.params["study"],
        target=str(path),
        params=args.params,
        code=args.code,
        inputs=inputs,
        outputs=[path, path.with_suffix(".tex")],
        started=started,
        seed=seed,
    )


def write_data(path: str | Path, table: pd.DataFrame) -> None:
    """Write what a figure draws, CSV in full precision."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def latex(printed: pd.DataFrame, datasets: Mapping[str, str]) -> str:
    """A booktabs `tabular` of texts, the rows of each data set under its name."""
    columns = [name for name in printed.columns if name != "dataset"]
    lines = [r"\begin{tabular}{l" + "r" * (len(columns) - 1) + "}", r"\toprule"]
    lines.append(" & ".join(map(escape, columns)) + r" \\")
    grouped = printed.groupby("dataset", sort=False) if "dataset" in printed else [("", printed)]
    for dataset, rows in grouped:
        lines.append(r"\midrule")
        if dataset:
            title = escape(datasets.get(str(dataset), str(dataset)))
            lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{title}}}}} \\")
        lines += [
            " & ".join(escape(str(cell)) for cell in row) + r" \\"
            for row in rows[columns].itertuples(index=False)
        ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def escape(text: str) -> str:
    """Text as LaTeX prints it; a hyphen that begins a number is a minus sign."""
    text = re.sub(r"([&%$#_{}])", r"\\\1", text)
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", text)


def rounded(digits: int, factor: float = 1.0) -> Callable[[Any], str]:
    """Format a number with `digits` decimals, never as -0.0; a missing one as two hyphens."""

    def text(value: Any) -> str:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return "--"
        shown = f"{factor * float(value):.{digits}f}"
        return shown.lstrip("-") if float(shown) == 0 else shown

    return text


def printed(table: pd.DataFrame, columns: Mapping[str, tuple[str, Callable[[Any], str] | None]]
            ) -> pd.DataFrame:  # fmt: skip
    """Choose, name and format columns of a table for print."""
    return pd.DataFrame(
        {
            title: table[name].map(form) if form else table[name].fillna("--").astype(str)
            for name, (title, form) in columns.items()
        }
    )
