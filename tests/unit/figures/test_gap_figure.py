"""plot_gap_vs_accuracy.py: points, means and arrows are the numbers of the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.text import Annotation

import plot_gap_vs_accuracy
from multical.figures import style
from multical.figures.params import ByLanguageAndGuess
from support import figure_data

PARAMS = ByLanguageAndGuess.model_validate(
    {key: figure_data.PARAMS[key] for key in ByLanguageAndGuess.model_fields}
)
CONDITIONS = ["base", "SFT", "SFT + smoothing 0.1"]


def numbers(models: list[str]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    keys = [(m, x, c) for m in models for x in ("en", "ko", "yo") for c in CONDITIONS]
    frame = pd.DataFrame(keys, columns=["model", "language", "condition"])
    frame["condition"] = pd.Categorical(frame["condition"], CONDITIONS, ordered=True)
    frame["n"] = 100
    return frame.assign(accuracy=rng.random(len(frame)), gap=rng.normal(0, 0.2, len(frame)))


def test_points_means_and_arrows() -> None:
    wide = numbers(["a", "b", "c"])
    figure = plot_gap_vs_accuracy.draw(wide, PARAMS, ["a", "b", "c"])
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c"]
    for ax, model in zip(figure.axes, "abc", strict=True):
        rows = wide[wide["model"] == model].set_index("language")[["accuracy", "gap"]]
        condition = wide[wide["model"] == model]["condition"].to_numpy()
        means = []
        for number, name in enumerate(CONDITIONS):
            part = rows[condition == name]
            np.testing.assert_array_equal(ax.collections[number].get_offsets(), part)
            means.append(part.drop(index="en").mean().to_numpy())
        large = [line for line in ax.lines if line.get_linestyle() == "None"]
        drawn = [np.ravel(line.get_xydata()) for line in large]
        np.testing.assert_allclose(drawn, means)
        notes = [text for text in ax.texts if isinstance(text, Annotation)]
        arrows = [(note.xyann, note.xy) for note in notes if not note.get_text()]
        np.testing.assert_allclose(arrows, [means[:2], means[1:]])
        named = [note.xy for note in notes if note.get_text() == "en"]
        np.testing.assert_allclose(named, rows.loc[["en"]])
        (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
        assert rows["accuracy"].between(x0, x1).all()
        assert rows["gap"].between(y0, y1).all()
        assert ax.get_xlabel() == ("" if model == "a" else "accuracy")
    style.plt.close(figure)


def test_a_base_model_alone_and_a_language_without_numbers() -> None:
    wide = numbers(["a"])
    wide = wide[wide["condition"] == "base"]
    wide.loc[wide["language"] == "yo", "gap"] = np.nan
    params = PARAMS.model_copy(update={"sft": None, "seed": None, "smoothing": None})
    figure = plot_gap_vs_accuracy.draw(wide, params, ["a"])
    (ax,) = figure.axes
    assert np.shape(ax.collections[0].get_offsets()) == (2, 2)
    assert [text.get_text() for text in ax.texts] == ["en"]
    style.plt.close(figure)
