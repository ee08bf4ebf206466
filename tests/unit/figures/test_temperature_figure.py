"""plot_temperatures_by_lang.py: what it draws are the numbers of its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

import plot_temperatures_by_lang
from multical.figures import style, tables
from multical.figures.params import NamedByLanguage
from support import figure_data

PARAMS = NamedByLanguage.model_validate(
    {key: figure_data.PARAMS[key] for key in NamedByLanguage.model_fields}
)


def levels_of(ax: Axes) -> dict[float, Any]:
    """The colours of horizontal lines by their height."""
    thin = [line for line in ax.lines if line.get_linewidth() == 0.5]
    return {float(np.unique(line.get_ydata())[0]): line.get_color() for line in thin}


def test_it_draws_temperatures_and_those_of_all_high_resource_languages(tmp_path: Path) -> None:
    levels = {"en": "high", "el": "mid", "yo": "low"}
    path = figure_data.write_tables(tmp_path, levels)["temperatures"]
    pd.read_csv(path).assign(ci_high=100.0).to_csv(path, index=False)
    rows = tables.chosen(path, "temperatures", PARAMS, tables.conditions(PARAMS))
    figure = plot_temperatures_by_lang.draw(rows, PARAMS)
    assert len(figure.axes) == 2
    for ax, model in zip(figure.axes, figure_data.MODELS, strict=True):
        part = rows[rows["model"] == model]
        points = [line for line in ax.lines if line.get_linestyle() == "None"]
        for number, condition in enumerate(("base", "SFT", "SFT + smoothing 0.1")):
            own, (high, *_) = (
                part[(part["condition"] == condition) & (part["fit"] == fit)]["value"].to_numpy()
                for fit in ("own", "high")
            )
            np.testing.assert_array_equal(points[number].get_ydata(), own)
            assert levels_of(ax)[high] == points[number].get_color()
        assert ax.get_yscale() == "log"
        assert ax.get_ylim()[1] > 100
        (dotted,) = [line for line in ax.lines if line.get_linestyle() == ":"]
        np.testing.assert_array_equal(dotted.get_ydata(), [1, 1])
    style.plt.close(figure)


def test_without_high_resource_languages(tmp_path: Path) -> None:
    path = figure_data.write_tables(tmp_path, {"el": "mid", "yo": "low"})["temperatures"]
    frame = pd.read_csv(path)
    frame[frame["fit"] == "own"].to_csv(path, index=False)
    rows = tables.chosen(path, "temperatures", PARAMS, tables.conditions(PARAMS))
    figure = plot_temperatures_by_lang.draw(rows, PARAMS)
    assert not levels_of(figure.axes[0])
    style.plt.close(figure)
