"""What can be read off figures of small tables: few questions, several seeds, small changes."""

from __future__ import annotations

import importlib
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

import plot_effects_by_lang
import plot_gap_vs_accuracy
import plot_reliability
from multical.figures import language_plots, style, tables
from multical.figures.params import (
    Conditions,
    ConditionsAndGuess,
    ModelByLanguage,
    NamedByLanguageAndGuess,
)
from multical.metrics.params import Metrics
from support import figure_data

LEVELS = {"en": "high", "de": "high", "el": "mid", "bg": "mid", "yo": "low", "am": "low"}
FEW = {"bg": 5, "am": 2}


def params(schema: type[Any], **changes: Any) -> Any:
    given = figure_data.PARAMS | changes
    return schema.model_validate({key: given[key] for key in schema.model_fields})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tables of six languages, of which two have few questions."""
    written = figure_data.write_tables(tmp_path_factory.mktemp("made"), LEVELS)
    for kind in ("metrics", "effects"):
        frame = pd.read_csv(written[kind])
        counts = [FEW.get(language, 300) for language in frame["language"]]
        frame.assign(n=counts).to_csv(written[kind], index=False)
    return written


def chosen(made: dict[str, Path], kind: str, shown: Conditions, **wanted: Any) -> pd.DataFrame:
    return tables.chosen(made[kind], kind, shown, tables.conditions(shown), **wanted)


def tick_labels(ax: Axes) -> list[Any]:
    return [
        text.get_window_extent()
        for text in ax.get_xticklabels()
        if text.get_text() and text.get_visible()
    ]


def overlap(ax: Axes) -> bool:
    """Whether two tick labels of the x axis overlap."""
    low, high = ax.get_window_extent().intervalx
    inside = [box for box in tick_labels(ax) if low - 20 < box.x0 and box.x1 < high + 20]
    return any(one.overlaps(other) for one, other in combinations(inside, 2))


@pytest.fixture
def shown() -> Any:
    """Functions that close their figures."""
    yield
    style.plt.close("all")


pytestmark = pytest.mark.usefixtures("shown")


def test_languages_with_few_questions_are_named_with_their_number(made: dict[str, Path]) -> None:
    one = params(NamedByLanguageAndGuess)
    figure = language_plots.by_language(chosen(made, "metrics", one, metric="ece"), one, "ECE")
    labels = {text.get_text() for text in figure.axes[-1].get_xticklabels()}
    assert {"bg (5)", "am (2)", "el", "en"} <= labels
    assert "2 to 300 questions each" in figure.axes[-1].get_xlabel()
    many = tables.few(chosen(made, "metrics", one, metric="ece"), 301)
    assert set(many) == set(LEVELS), "all have fewer than the least number"


def test_means_leave_out_languages_with_fewer_questions_than_the_least(
    made: dict[str, Path],
) -> None:
    one = params(NamedByLanguageAndGuess, least_questions=20)
    rows = chosen(made, "metrics", one, metric=["accuracy", "gap"])
    wide = rows.pivot(
        index=["model", "language", "condition", "n"], columns="metric", values="value"
    ).reset_index()
    figure = plot_gap_vs_accuracy.draw(wide, one, tables.models(rows))
    (ax, *_), base = figure.axes, wide[wide["condition"] == "base"].set_index("language")
    base = base[base["model"] == tables.models(rows)[0]]
    large = next(line for line in ax.lines if line.get_linestyle() == "None")
    expected = base.loc[["de", "el", "yo"], ["accuracy", "gap"]].mean()
    np.testing.assert_allclose(np.ravel(large.get_xydata()), expected)
    faces = [np.asarray(points.get_facecolor())[:, :3] for points in ax.collections]
    hollow = [
        points for points, face in zip(ax.collections, faces, strict=True) if np.all(face == 1)
    ]
    assert [len(np.asarray(points.get_offsets())) for points in hollow] == [2, 2, 2]
    assert "few questions" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("scale", [1.0, 0.03, 0.004, 1e-5])
def test_tick_labels_of_small_changes_do_not_overlap(made: dict[str, Path], scale: float) -> None:
    one = params(ModelByLanguage)
    rows = tables.compared(made["effects"], "effects", one)
    rows = rows[rows["model"] == one.model]
    numbers = ["value", "ci_low", "ci_high", "seed_sd"]
    figure = plot_effects_by_lang.draw(rows.assign(**scale * rows[numbers]), one)
    figure.draw_without_rendering()
    assert len(figure.axes) == 6
    for ax in figure.axes:
        assert len(tick_labels(ax)) >= 2
        assert not overlap(ax)
    exponents = ["10$^{" in ax.get_xlabel() for ax in figure.axes]
    assert all(exponents) if scale < 0.01 else not any(exponents) or scale < 1


def test_markers_at_0_and_1_are_whole(made: dict[str, Path]) -> None:
    one = params(ConditionsAndGuess)
    rows = chosen(made, "reliability", one)
    rows = rows[rows["group"].isin(tables.LEVELS)]
    rows["point_accuracy"] = (rows["point"] % 2).astype(float)
    figure = plot_reliability.draw(rows, one)
    figure.draw_without_rendering()
    for ax in figure.axes[::2][:3]:
        frame = ax.get_window_extent()
        for points in ax.collections:
            offsets = np.asarray(points.get_offsets())
            if len(offsets) and isinstance(points, PathCollection):
                y = points.get_offset_transform().transform(offsets)[:, 1]
                radius = np.sqrt(max(points.get_sizes())) / 2 * figure.dpi / 72 / 2
                assert y.min() - radius >= frame.y0
                assert y.max() + radius <= frame.y1


def test_an_ece_of_0_is_drawn_whole(made: dict[str, Path]) -> None:
    one = params(NamedByLanguageAndGuess)
    rows = chosen(made, "metrics", one, metric="ece")
    rows[["value", "ci_low"]] = 0.0
    figure = language_plots.by_language(rows, one, "ECE")
    marked = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "s", "^")]
    assert len(marked) == 3
    assert not any(line.get_clip_on() for line in marked)
    assert figure.axes[0].get_ylim()[0] == 0


@pytest.mark.parametrize(
    "smoothings",
    [
        [0.01, 0.02, 0.05, 0.3],
        [0.3, 0.4, 0.5, 0.6],
        [0.1, 0.11, 0.12, 0.2],
        [0.05 * i for i in range(1, 13)],
    ],
)
def test_no_two_smoothings_share_a_marker(smoothings: list[float]) -> None:
    conditions = [None, 0.0, *smoothings]
    markers = [marker for _, marker in style.condition_styles(conditions).values()]
    assert len(set(markers)) == len(conditions)
    assert style.condition_styles([None, 0.0, 0.1]) == {
        condition: style.condition_style(condition) for condition in (None, 0.0, 0.1)
    }
    handles = style.condition_handles(conditions)
    assert len({entry.get_marker() for entry in handles}) == len(conditions)


#: Figures that share axes over models, with their tables
SHARING = {
    "plot_confidence_vs_accuracy_shift": "metrics",
    "plot_gap_vs_accuracy": "metrics",
    "plot_ece_by_lang": "metrics",
    "plot_smoothing_sweep": "summary",
    "plot_conditions_by_resource": "summary",
    "plot_ece_by_resource": "summary",
}


@pytest.mark.parametrize("name", SHARING)
def test_no_model_is_squeezed_into_a_dot(
    name: str, made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = SHARING[name]
    frame = pd.read_csv(made[kind])
    ends = ["value", "ci_low", "ci_high"]
    own = frame["model"] == figure_data.MODELS[1]
    middle = np.where(frame.loc[own, "metric"] == "ece", 0.0, 0.26)[:, None]  # near a guess
    frame.loc[own, ends] = middle + 0.02 * (frame.loc[own, ends] - middle)
    frame.to_csv(tmp_path / f"{kind}.csv", index=False)
    figure = drawn(name, tmp_path / f"{kind}.csv", monkeypatch)
    assert all(filled(ax) > 0.2 for ax in figure.axes if ax.get_visible())
    usual = drawn(name, made[kind], monkeypatch)
    shared = [ax for ax in usual.axes if len(ax.get_shared_y_axes().get_siblings(ax)) > 1]
    assert shared, "models of like sizes share their axes"


def filled(ax: Axes) -> float:
    """The part of an axis' height that its points and bars take, from the axis' 0 if it shows 0."""
    heights = [
        np.asarray(line.get_ydata(), float)
        for line in ax.lines
        if line.get_marker() not in ("", "None", None)
    ]
    heights += [np.asarray(points.get_offsets())[:, 1] for points in ax.collections
                if isinstance(points, PathCollection)]  # fmt: skip
    values = np.concatenate([x[np.isfinite(x)] for x in heights])
    low, high = ax.get_ylim()
    start = 0.0 if low == 0 else values.min()
    return float((values.max() - start) / (high - low))


def drawn(name: str, table: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure that a program makes of a table, in place of writing it."""
    figures: list[Figure] = []
    module = importlib.import_module(name)
    monkeypatch.setattr(style, "finish", lambda figure, *_: figures.append(figure))
    shown = SimpleArguments(table)
    monkeypatch.setattr(style, "arguments", lambda _, schema, *kinds: shown.of(schema))
    module.main()
    return figures[0]


class SimpleArguments:
    """The command line of a program that reads one table."""

    def __init__(self, table: Path) -> None:
        self.metrics = self.summary = self.reliability = self.reliability_by_lang = str(table)
        self.params: Any = None

    def of(self, schema: type[Any]) -> SimpleArguments:
        self.params = params(schema)
        return self


def twice(made: dict[str, Path], folder: Path, kind: str) -> Path:
    """A table with a second seed of each SFT run, whose values are 0.8 of the first's."""
    frame = pd.read_csv(made[kind])
    second = frame[frame["sft"].notna()].assign(seed=1)
    second["run"] = second["run"].str.replace(".s0", ".s1")
    numbers = ["confidence", "accuracy"] if "bin" in second else ["value", "ci_low", "ci_high"]
    second[numbers] = second[numbers] * 0.8
    path = folder / f"{kind}.csv"
    pd.concat([frame, second]).to_csv(path, index=False)
    return path


def test_several_seeds_are_drawn_as_their_means(made: dict[str, Path], tmp_path: Path) -> None:
    path = twice(made, tmp_path, "summary")
    one, all_seeds = params(NamedByLanguageAndGuess), params(NamedByLanguageAndGuess, seed=None)
    conditions = tables.conditions(one)
    wanted = {"metric": ["ece", "accuracy"]}
    single = tables.chosen(path, "summary", one, conditions, **wanted)
    means = tables.chosen(path, "summary", all_seeds, conditions, **wanted)
    key = ["model", "condition", "group", "metric"]
    joined = single.merge(means, on=key, validate="one_to_one", suffixes=("", "_mean"))
    assert len(joined) == len(single) == len(means)
    share = np.where(
        joined["condition"] == "base", 1.0, 0.9
    )  # the second seed has 0.8 of the first
    for end in ("value", "ci_low", "ci_high"):
        np.testing.assert_allclose(joined[f"{end}_mean"], joined[end] * share)
    np.testing.assert_allclose(joined["languages_mean"], joined["languages"])


def test_a_seed_that_lacks_a_run_is_refused(made: dict[str, Path], tmp_path: Path) -> None:
    path = twice(made, tmp_path, "summary")
    frame = pd.read_csv(path)
    frame[frame["run"] != "gemma3-270m.facts.ls0.1.s1"].to_csv(path, index=False)
    one = params(NamedByLanguageAndGuess, seed=None)
    with pytest.raises(tables.InputError, match="SFT set facts, seed 1"):
        tables.chosen(path, "summary", one, tables.conditions(one), metric="ece")


def diagram(
    sure: list[float], right: list[float], n: list[int], point: list[int]
) -> dict[str, Any]:
    edges = np.linspace(0, 1, len(n) + 1)
    return {"bin": range(len(n)), "low": edges[:-1], "high": edges[1:], "n": n, "confidence": sure,
            "accuracy": right, "point": point, "point_confidence": sure, "point_accuracy": right,
            "point_low": right, "point_high": right}  # fmt: skip


def test_diagrams_of_several_seeds_pool_their_answers(tmp_path: Path) -> None:
    run: dict[str, Any] = {"model": "a", "sft": "facts", "smoothing": 0.0, "group": "low"}
    run |= {"benchmark": "cldr-facts", "readout": "text_ppl"}
    seeds = [
        diagram([0.2, 0.8], [0.5, 0.5], [30, 10], [0, 1]),
        diagram([0.4, 0.6], [0.5, 0.7], [10, 30], [0, 1]),
    ]
    parts = [
        pd.DataFrame(one).assign(**run, run=f"a.facts.ls0.s{seed}", seed=seed)
        for seed, one in enumerate(seeds)
    ]
    path = tmp_path / "reliability.csv"
    pd.concat(parts).to_csv(path, index=False)
    rows = tables.chosen(path, "reliability", params(NamedByLanguageAndGuess, seed=None), [0.0])
    assert rows["n"].tolist() == [20, 20]
    np.testing.assert_allclose(rows["confidence"], [(30 * 0.2 + 10 * 0.4) / 40, (8 + 18) / 40])
    np.testing.assert_allclose(rows["accuracy"], [0.5, (10 * 0.5 + 30 * 0.7) / 40])
    eces = [(30 * 0.3 + 10 * 0.3) / 40, (10 * 0.1 + 30 * 0.1) / 40]
    assert rows["distance"].sum() / rows["n"].sum() == pytest.approx(np.mean(eces))
    points = tables.points(rows)
    np.testing.assert_allclose(points["confidence"], rows["confidence"])
    parts[1]["point"] = 0  # one seed has few questions in its bins
    pd.concat(parts).to_csv(path, index=False)
    rows = tables.chosen(path, "reliability", params(NamedByLanguageAndGuess, seed=None), [0.0])
    assert set(rows["point"]) == {0}
    assert len(tables.points(rows)) == 1


def test_entropies_of_questions_with_different_numbers_of_options(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "normalised_entropy" in Metrics().metrics
    both = {}
    for options in (4, None):
        monkeypatch.setitem(figure_data.PARAMS, "options", options)
        (ax, *_) = drawn("plot_entropy_by_lang", made["metrics"], monkeypatch).axes
        dotted = [
            np.asarray(line.get_ydata())[0] for line in ax.lines if line.get_linestyle() == ":"
        ]
        both[options] = (ax.get_ylabel(), dotted)
    assert both == {4: ("entropy (nats)", [np.log(4)]), None: ("entropy / ln k", [1.0])}
