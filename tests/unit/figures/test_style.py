"""The look of figures: style files, formats, names of languages, and what a legend says."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import plot_ece_by_lang
import plot_effects_by_lang
import plot_msp_calibration
import plot_msp_prompts
import plot_temperatures_by_lang
from multical.config import schema
from multical.errors import InputError
from multical.figures import language_plots, msp_style, style, tables
from multical.figures.params import ModelByLanguage, NamedByLanguage
from support import checkout, figure_data

LEVELS = {"en": "high", "de": "high", "el": "mid", "yo": "low"}


@pytest.fixture(autouse=True)
def usual() -> Any:
    """The usual style, and no figures, after each test."""
    yield
    style.plt.close("all")
    style.use(style.DEFAULT)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return figure_data.write_tables(tmp_path_factory.mktemp("tables"), LEVELS)


@pytest.fixture
def run(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, bytes]]:
    """Draw ECE by language; the files by form."""

    def run(*more: str, forms: tuple[str, ...] = ("pdf", "png")) -> dict[str, bytes]:
        params = {key: figure_data.PARAMS[key] for key in NamedByLanguage.model_fields}
        command = ["--metrics", str(made["metrics"]), "--params", json.dumps(params)]
        files = {form: tmp_path / f"ece.{form}" for form in forms}
        for form, file in [*files.items(), ("sidecar", tmp_path / "ece.json")]:
            command += [f"--{form}", str(file)]
        monkeypatch.setattr(sys, "argv", ["plot_ece_by_lang", *command, "--code", "abc", *more])
        plot_ece_by_lang.main()
        return {form: file.read_bytes() for form, file in files.items()}

    return run


def params(schema: type[Any], **changes: Any) -> Any:
    given = figure_data.PARAMS | changes
    return schema.model_validate({key: given[key] for key in schema.model_fields})


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def by_language(path: Path, **changes: Any) -> Figure:
    one = params(NamedByLanguage, **changes)
    rows = tables.chosen(path, "metrics", one, tables.conditions(one), metric="ece")
    return language_plots.by_language(rows, one, "ECE")


def test_a_style_replaces_settings_and_is_an_input(
    run: Callable[..., dict[str, bytes]], tmp_path: Path
) -> None:
    own = tmp_path / "own.mplstyle"
    own.write_text("axes.titlesize: 12  # larger\n\nsvg.hashsalt: other\n")
    before = run()
    after = run("--style", str(style.DEFAULT), str(own))
    settings = style.plt.rcParams
    assert settings["axes.titlesize"] == 12
    assert settings["axes.labelsize"] == 8, "of the default style"
    assert settings["svg.hashsalt"] == "multical", "which no style changes"
    assert before["png"] != after["png"]
    inputs = json.loads((tmp_path / "ece.json").read_text())["inputs"]
    assert own.name in inputs
    assert run("--style", str(style.DEFAULT)) == before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("font.size: 12\nfont.sise: 8\n", "line 2: found 'font.sise', expected a setting of"),
        ("font.size 12\n", "line 1: found 'font.size 12', expected a setting of"),
        ("font.size: big\n", "not a style of matplotlib (Key font.size: Could"),
        (None, "not a style of matplotlib"),
    ],
)
def test_a_bad_style_is_refused(
    text: str | None, sentence: str, run: Callable[..., Any], tmp_path: Path
) -> None:
    own = tmp_path / "own.mplstyle"
    if text is not None:
        own.write_text(text)
    with pytest.raises(InputError) as error:
        run("--style", str(own))
    assert str(error.value).startswith(f"{own}: ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ece.pdf").exists()


def test_no_other_settings_of_matplotlib_count() -> None:
    style.plt.rcParams.update({"lines.linewidth": 30, "axes.facecolor": "red"})
    style.use(style.DEFAULT)
    assert (style.plt.rcParams["lines.linewidth"], style.plt.rcParams["axes.facecolor"]) == (
        1, "white",
    )  # fmt: skip


def test_an_svg_has_the_same_bytes_each_time(run: Callable[..., dict[str, bytes]]) -> None:
    forms = ("pdf", "png", "svg")
    first, second = run(forms=forms), run(forms=forms)
    assert first == second
    assert first["svg"].startswith(b"<?xml")
    assert b"<dc:date>" not in first["svg"]
    assert {form: first[form] for form in ("pdf", "png")} == run()


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        ({"formats": ["svg"]}, "figures.formats: found ['svg'], expected pdf and png among them"),
        ({"formats": ["pdf", "png", "eps"]}, "figures.formats"),
        ({"style": ""}, "figures.style"),
    ],
)
def test_bad_keys_of_figures_are_refused(figures: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=r"figures") as error:
        schema.load(checkout.config() | {"figures": figures})
    assert sentence in str(error.value)


def test_a_legend_names_intervals_and_their_level(made: dict[str, Path], tmp_path: Path) -> None:
    assert legend_of(by_language(made["metrics"]))[-1] == "95 % bootstrap interval"
    assert legend_of(by_language(made["metrics"], level=0.9))[-1] == "90 % bootstrap interval"
    frame = pd.read_csv(made["metrics"]).assign(ci_low=None, ci_high=None)
    frame.to_csv(tmp_path / "metrics.csv", index=False)
    assert not any("interval" in text for text in legend_of(by_language(tmp_path / "metrics.csv")))


def test_a_legend_names_the_spread_between_seeds(made: dict[str, Path]) -> None:
    one = params(ModelByLanguage)
    rows = tables.compared(made["effects"], "effects", one)
    rows = rows[rows["model"] == one.model]
    both = ["95 % bootstrap interval", "SD between seeds"]
    assert legend_of(plot_effects_by_lang.draw(rows, one))[-2:] == both
    single = rows.assign(seed_sd=np.nan)
    assert legend_of(plot_effects_by_lang.draw(single, one))[-1] == both[0]


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        (["base", "SFT", "SFT + smoothing 0.1", "95 % bootstrap interval"], 4),
        (["base", "SFT", "SFT + smoothing 0.1", "95 % bootstrap interval", "culturally sensitive",
          "agnostic", "random guess"], 4),
        (["x" * 60] * 3, 1),
        (["x" * 200] * 2, 1),
        ([f"SFT + smoothing {0.05 * number:g}" for number in range(13)], 4),
    ],
)  # fmt: skip
def test_a_legend_is_as_wide_as_a_page_at_most(labels: list[str], columns: int) -> None:
    handles = [style.handle(label, "k", "o") for label in labels]
    figure, _ = style.panels(1, 1, 3)
    style.legend(figure, handles)
    assert style._columns(handles) == columns
    figure.draw_without_rendering()
    width = figure.legends[0].get_window_extent().width
    assert width <= figure.bbox.width or max(map(len, labels)) > 100


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("de", "German (de)"),
        ("tl", "Tagalog (tl)"),
        ("pt-BR", "Brazilian Portuguese (pt-BR)"),
        ("zh-Hant-TW", "Chinese (Traditional, Taiwan) (zh-Hant-TW)"),
        ("nan", "Min Nan Chinese (nan)"),
        ("zz", "zz"),
        ("own-language", "own-language"),
    ],
)
def test_names_of_languages(code: str, name: str) -> None:
    assert language_plots.spelt(code) == name


def test_axes_name_languages_on_demand(made: dict[str, Path]) -> None:
    def labels(**changes: Any) -> dict[str, str]:
        texts = by_language(made["metrics"], **changes).axes[-1].get_xticklabels()
        return {text.get_text(): str(text.get_fontweight()) for text in texts}

    assert labels() == {"de": "normal", "en": "bold", "el": "normal", "yo": "normal"}
    assert labels(language_names=True) == {
        "German (de)": "normal", "English (en)": "bold", "Greek (el)": "normal",
        "Yoruba (yo)": "normal",
    }  # fmt: skip


def test_tick_labels_of_wide_ranges_of_temperatures_are_apart(
    made: dict[str, Path], tmp_path: Path
) -> None:
    frame = pd.read_csv(made["temperatures"])
    frame["ci_low"], frame["ci_high"] = 0.1, 100.0
    frame.to_csv(tmp_path / "temperatures.csv", index=False)
    one = params(NamedByLanguage)
    rows = tables.chosen(tmp_path / "temperatures.csv", "temperatures", one, tables.conditions(one))
    figure = plot_temperatures_by_lang.draw(rows, one)
    figure.draw_without_rendering()
    for ax in figure.axes:
        boxes = sorted(
            (text.get_window_extent().intervaly for text in ax.get_yticklabels()),
            key=lambda interval: interval[0],
        )
        gaps = [above[0] - below[1] for below, above in pairwise(boxes)]
        assert min(gaps) > 4


def test_a_prompt_lies_within_its_frame() -> None:
    figure = plot_msp_prompts.panels({"one": "word " * 60, "two": "x " * 200})
    figure.draw_without_rendering()
    for ax in figure.axes:
        (text,) = ax.texts
        frame = ax.get_window_extent()
        assert text.get_window_extent().x1 < frame.x1
        assert frame.x1 > 0.98 * figure.bbox.x1


@pytest.mark.parametrize("length", [10, 30, 44])
def test_the_labels_of_a_square_are_whole(length: int) -> None:
    name = "a model with a long name" * 2
    looks: Any = {name[:length]: {"color": "k", "marker": "o"}}
    table = pd.DataFrame({"model": [name[:length]], "confidence": [0.5], "accuracy": [0.5]})
    figure = plot_msp_calibration.curves(table, looks, "none")
    plot_msp_calibration.settle(figure)
    (ax,) = figure.axes
    assert ax.yaxis.label.get_window_extent().x0 >= 0
    legend = figure.legends[0].get_window_extent()
    assert ax.get_window_extent().x1 < legend.x0
    assert legend.x1 <= figure.bbox.x1


def test_the_note_of_a_fit_hides_no_point() -> None:
    looks: Any = {name: {"color": "k", "marker": "o"} for name in "abc"}
    table = pd.DataFrame({"model": list("abc"), "x": [0.0, 0.5, 1.0], "y": [1.0, 0.5, 0.0]})
    for flip, corner in ((False, ("right", "top")), (True, ("left", "top"))):
        _, ax = style.subplots()
        shown = table.assign(y=1 - table["y"]) if flip else table
        msp_style.fitted_scatter(ax, shown, "x", "y", looks)
        (note,) = ax.texts
        assert (note.get_horizontalalignment(), note.get_verticalalignment()) == corner
