"""Result tables as the contract has them, made up: for the tests of figures and tables."""

from __future__ import annotations

from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

from multical.metrics import declared
from multical.metrics.params import Metric

LEVELS = {
    "high": "ar cs de en es fa fr hi it ja nl pl pt ro ru sr sv tr vi zh".split(),
    "mid": "bn el fil he id ko lt ms uk".split(),
    "low": "am ha ig ky mg ne si sn so sw te yo".split(),
}
FORTY_ONE = {language: level for level, names in LEVELS.items() for language in names}
SEVENTY_ONE = FORTY_ONE | {
    f"{a}{b}": ("high", "mid", "low")[i % 3] for i, (a, b) in enumerate(product("bgpqy", "jlmvwx"))
}
METRICS = list(get_args(Metric))
RELIABILITY = ["group", "readout", "bin", "low", "high", "n", "confidence", "accuracy"]
RELIABILITY += ["point", "point_confidence", "point_accuracy", "point_low", "point_high"]
RUN = ["run", "model", "sft", "smoothing", "seed", "benchmark"]
MODELS = ("gemma3-270m", "smollm2-135m-instruct")
#: What matplotlib does fast: small images, and fonts as it has them, none cut to what is shown
QUICK: Any = {"savefig.dpi": 40, "pdf.fonttype": 3}
#: In place of a PDF
NOT_DRAWN = b"%PDF-" + b" not drawn" * 100
PARAMS = {
    "study": "results/demo",
    "benchmark": "cldr-facts",
    "readout": "text_ppl",
    "sft": "facts",
    "seed": 0,
    "smoothing": 0.1,
    "least_questions": 1,
    "level": 0.95,
    "reference_language": "en",
    "language_names": False,
    "options": 4,
    "model": "gemma3-270m",
}


def draw_once(patch: pytest.MonkeyPatch) -> None:
    """Draw figures as small images, and no PDFs, which show the same in the same layout."""
    save = Figure.savefig

    def quickly(figure: Figure, file: Path, **more: Any) -> None:
        if file.suffix == ".pdf":
            file.write_bytes(NOT_DRAWN)
        else:
            save(figure, file, **more)

    patch.setattr(Figure, "savefig", quickly)
    patch.setitem(cast("dict[str, Any]", rcParams), "savefig.dpi", QUICK["savefig.dpi"])


def write_tables(
    folder: Path,
    languages: dict[str, str] = FORTY_ONE,
    models: tuple[str, ...] = MODELS,
    smoothings: tuple[float, ...] = (0.0, 0.1, 0.2),
    sets: tuple[str, ...] = ("facts",),
) -> dict[str, Path]:
    """Write the tables that figures are drawn from; their paths by kind."""
    paths = {}
    for kind, text in _tables(tuple(languages.items()), models, smoothings, sets).items():
        paths[kind] = folder / f"{kind}.csv"
        paths[kind].write_text(text, encoding="utf-8")
    return paths


@cache
def _tables(
    levels: tuple[tuple[str, str], ...],
    models: tuple[str, ...],
    smoothings: tuple[float, ...],
    sets: tuple[str, ...],
) -> dict[str, str]:
    """The tables as CSV, by kind."""
    languages = dict(levels)
    rng = np.random.default_rng(0)
    metrics, reliability, by_lang = [], [], []
    language_shift = {name: rng.normal(0, 0.04) for name in languages}
    tuned = list(product(sets, smoothings))
    for model, (sft, smoothing) in product(models, [(None, None), *tuned]):
        run = [model, model, None, None, None] if smoothing is None else [
            f"{model}.{sft}.ls{smoothing:g}.s0", model, sft, smoothing, 0]  # fmt: skip
        run.append("cldr-facts")
        for language, level in languages.items():
            for metric in METRICS:
                value = _value(metric, level, smoothing) + language_shift[language]
                value = abs(value + rng.normal(0, 0.02))
                width = 0.03 + 0.02 * rng.random()
                metrics.append(
                    [*run, language, level, "text_ppl", metric, value, value - width,
                     value + width, 160]
                )  # fmt: skip
            by_lang += [[*run, language, level, *row] for row in _bins(rng, smoothing, 0.12)]
        for group in (*dict.fromkeys(languages.values()), "non-english", "all"):
            reliability += [[*run, group, *row] for row in _bins(rng, smoothing)]
    columns = [*RUN, "language", "resource_level", "readout", "metric"]
    frame = pd.DataFrame(metrics, columns=[*columns, "value", "ci_low", "ci_high", "n"])
    places = [*RUN, "language", "resource_level", *RELIABILITY[1:]]
    tables = {
        "metrics": frame,
        "summary": _summary(frame),
        "reliability": pd.DataFrame(reliability, columns=[*RUN, *RELIABILITY]),
        "reliability_by_lang": pd.DataFrame(by_lang, columns=places),
        "fertility": _fertility(frame),
        "culture": _culture(_summary(frame)),
        "recalibration": _recalibration(_summary(frame)),
        "temperatures": _temperatures(frame),
    } | _changes(frame)
    return {kind: table.to_csv(index=False) for kind, table in tables.items()}


def _value(metric: str, level: str, smoothing: float | None) -> float:
    worse = {"high": 0.0, "mid": 0.04, "low": 0.07}[level]
    tuned = 0.0 if smoothing is None else 0.09 - 0.8 * smoothing
    return {
        "accuracy": 0.5 - 2 * worse + (0 if smoothing is None else 0.02),
        "confidence": 0.65 - worse + tuned,
        "entropy": 0.8 + worse - 2 * tuned,
        "nll": 1.5 + worse,
        "auroc": 0.65,
    }.get(metric, 0.22 + worse + tuned)


def _bins(
    rng: np.random.Generator, smoothing: float | None, noise: float = 0.04
) -> list[list[object]]:
    edges = np.linspace(0, 1, 16)
    rows: list[list[object]] = []
    for i, (low, high) in enumerate(pairwise(edges)):
        n = 0 if high < 0.25 else int(rng.integers(20, 400))
        middle = (low + high) / 2
        right = min(1.0, max(0.0, 0.2 + 0.6 * middle + rng.normal(0, noise)))
        point = [max(i - 3, 0), middle, right, max(right - 0.1, 0), min(right + 0.1, 1)]
        own = (middle, right) if n else (None, None)
        rows.append(["text_ppl", i, low, high, n, *own, *point])
    return rows


def _summary(frame: pd.DataFrame) -> pd.DataFrame:
    parts = []
    groups = {level: frame["resource_level"] == level for level in frame["resource_level"].unique()}
    groups |= {"non-english": frame["language"] != "en", "all": frame["n"] > 0}
    for group, rows in groups.items():
        grouped = frame[rows].groupby([*RUN, "readout", "metric"], dropna=False, sort=False)
        part = grouped[["value", "ci_low", "ci_high"]].mean()
        part["languages"] = grouped["language"].nunique()
        parts.append(part.reset_index().assign(group=group))
    columns = [*RUN, "group", "languages", "readout", "metric", "value", "ci_low", "ci_high"]
    return pd.concat(parts)[columns].sort_values(["run", "group"], kind="stable")


def _changes(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables of what SFT and smoothing change, with intervals and p-values made up."""
    extra = frame[frame["metric"] == "confidence_right"]
    extra = extra.assign(metric="confidence_at_equal_accuracy")
    frame = pd.concat([frame[frame["metric"].isin(declared.TESTED)], extra])
    place = ["model", "benchmark", "readout", "metric", "language", "resource_level"]
    base, plain = (
        frame[chosen].set_index([*place, *sft])["value"]
        for chosen, sft in ((frame["sft"].isna(), []), (frame["smoothing"] == 0, ["sft"]))
    )
    parts = []
    for smoothing, rows in frame.groupby("smoothing"):
        keys = place + ["sft"] * bool(smoothing)
        before = (plain if smoothing else base).reindex(pd.MultiIndex.from_frame(rows[keys]))
        named = {"before": "SFT", "after": f"SFT + smoothing {smoothing:g}"}
        named = named if smoothing else {"before": "base", "after": "SFT"}
        parts.append(rows.assign(**named, seeds=2, value=rows["value"] - before.to_numpy()))
    effects = pd.concat(parts)
    effects["seed_sd"] = 0.01
    effects = _with_p(effects, 0.03)
    over = []
    keys = ["model", "sft", "benchmark", "before", "after", "seeds", "readout", "metric"]
    levels = effects["resource_level"].unique()
    groups = {level: effects["resource_level"] == level for level in levels}
    for group, chosen in (groups | {"non-english": effects["language"] != "en"}).items():
        grouped = effects[chosen].groupby(keys, sort=False)
        part = grouped[["value", "seed_sd"]].mean().assign(languages=grouped.size())
        part = _with_p(part.reset_index(), 0.02)
        both = {"low_all": part["ci_low"], "high_all": part["ci_high"]}
        both |= {f"p_all{end}": part["p"] for end in ("", "_holm", "_bh")}
        signs = part.assign(rises=part["languages"], falls=0, **both)
        over.append(signs.assign(group=group))
    return {
        "effects": effects.drop(columns=["run", "smoothing", "seed"]),
        "effects_over_languages": pd.concat(over).sort_values([*keys, "group"]),
    }


def _with_p(table: pd.DataFrame, half: float) -> pd.DataFrame:
    p = np.exp(-3 * np.abs(table["value"]) / half)
    ends = {"ci_low": table["value"] - half, "ci_high": table["value"] + half}
    return table.assign(**ends, p=p, p_bh=p, p_holm=np.minimum(1, 5 * p))


def _fertility(metrics: pd.DataFrame) -> pd.DataFrame:
    """Low resources have the most tokens a byte; the same in all runs of a model."""
    table = metrics[metrics["metric"] == "ece"].drop(columns=["readout", "metric", "value"])
    table["tokens"] = 300 + table["language"].map(lambda name: sum(map(ord, name)) % 97)
    table["tokens"] += table["resource_level"].map({"high": 0, "mid": 60, "low": 90})
    return table.assign(bytes=1000, fertility=table["tokens"] / 1000)


def _culture(summary: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for culture, shift in (("CS", -0.03), ("CA", 0.03), ("CS-CA", None)):
        part = summary.assign(culture=culture)
        ends = part[["value", "ci_low", "ci_high"]]
        part[ends.columns] = (
            ends.sub(part["value"] + 0.06, axis=0) if shift is None else ends + shift
        )
        parts.append(part)
    return pd.concat(parts)


def _recalibration(summary: pd.DataFrame) -> pd.DataFrame:
    fits = product(("temperature", "platt", "isotonic"), ("reference", "high", "own"))
    parts = []
    for place, (method, fit) in enumerate([("none", "none"), *fits]):
        part = summary.assign(method=method, fit=fit)
        columns = ["value", "ci_low", "ci_high"]
        part[columns] -= 0.1 - 0.01 * place if place else 0
        parts.append(part)
    return pd.concat(parts)


def _temperatures(frame: pd.DataFrame) -> pd.DataFrame:
    own = frame[frame["metric"] == "nll"].drop(columns="metric").assign(fit="own")
    high = own[own["language"] == own["language"].iloc[0]].assign(fit="high", language="high")
    return pd.concat([high, own]).sort_values(["run", "fit"], kind="stable")
