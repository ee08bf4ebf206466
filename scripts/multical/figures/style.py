"""The common style of the figures, and the parts that several figures share.

Colours are from the palettes of Okabe and Ito and of Tol for colour-blind readers. Each colour has
its own marker, so that a figure can also be read in grey. A condition or a resource level looks
the same in every figure. All sizes are points on paper: figures are as wide as the text of an A4
or letter page and are meant to be printed unscaled.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from pydantic import BaseModel

from multical.errors import InputError
from multical.figures import outputs, tables
from multical.figures.params import NamedByLanguage
from multical.files import atomic
from multical.patches.matplotlib import embed_glyphs_alone

LineStyle = Literal["-", "--", "-.", ":", ""]

WIDTH = 7.0  # inches
GREY = "0.45"  # reference lines
HALO = [withStroke(linewidth=2, foreground="white")]  # keeps text legible over lines
MARKER: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.3}
OPEN: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 0.8}
#: A model that would take a smaller part of an axis has its own
SQUEEZED = 0.25
#: What `with_intervals` draws along an axis
ENDS = ("value", "ci_low", "ci_high")
#: Colour and marker by resource level.
LEVEL_STYLE = {
    "high": ("#009E73", "o"),
    "mid": ("#E69F00", "s"),
    "low": ("#332288", "^"),
    "unknown": ("#882255", "D"),
}
_SMOOTHING_COLOURS = {0.05: "#003A5D", 0.1: "#0072B2", 0.2: "#56B4E9", 0.4: "#B3DDF2"}
#: Markers of smoothings 0.05, 0.1, ..., so that each looks the same in every figure
_SMOOTHING_MARKERS = "v^<D>PdXhp*H8"

#: The look of all figures, which another style may change
DEFAULT = Path(__file__).with_name("default.mplstyle")
#: What no style changes: the layout is made for it, and bytes are the same each time
FIXED: Any = {"figure.constrained_layout.use": True, "svg.hashsalt": "multical"}


def use(*styles: str | Path) -> None:
    """Set all that style files say, in their order, and nothing else.

    Above all not what a matplotlibrc says, in the folder, in that of the user, or in MATPLOTLIBRC.
    Raises `InputError` for a file that is not a style of matplotlib.
    """
    matplotlib.rcdefaults()
    for path in styles:
        plt.style.use(_read(path))
    plt.rcParams.update(FIXED)


def _read(path: str | Path) -> dict[str, Any]:
    """The settings of a style file. matplotlib itself overlooks lines that it does not know."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            key = line.partition("#")[0].partition(":")[0].strip()
            if key and key not in plt.rcParams:
                raise InputError(
                    f"{path}: line {number}: found {key!r}, expected a setting of matplotlib"
                )
        found: Any = matplotlib.rc_params_from_file(path, True, use_default_template=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a style of matplotlib ({reason})") from error
    return dict(found)


use(DEFAULT)
embed_glyphs_alone()


def arguments(description: str | None, schema: type[BaseModel], *tables: str) -> argparse.Namespace:
    """Parse the command line of a figure program, and use the styles that it names.

    `tables` are the options of its input tables.
    """
    about = {"nargs": "+", "metavar": "FILE", "default": [], "help": "input: styles of matplotlib"}
    args = outputs.arguments(description, schema, tables, outputs.FIGURE, style=about)
    args.inputs.add(args.style)
    if args.style:
        use(*args.style)
    return args


#: By form: what of a figure's file would differ from one machine or day to another
UNDATED: dict[str, dict[str, None]] = {
    "pdf": dict.fromkeys(["Creator", "Producer", "CreationDate"]),
    "png": {"Software": None},
    "svg": dict.fromkeys(["Creator", "Date"]),
}


def save(fig: Figure, files: Mapping[str, Path]) -> None:
    """Write `fig` into a file for each form, all or none. The same figure gives the same bytes.

    All have the layout of the first, since to find one takes as long as to draw it.
    """
    with ExitStack() as stack:
        for form, metadata in UNDATED.items():
            if form in files:
                fig.savefig(stack.enter_context(atomic(files[form])), metadata=metadata)
                fig.set_layout_engine("none")
    plt.close(fig)


def finish(fig: Figure, args: argparse.Namespace, name: str | None = None) -> None:
    """Write a figure of the program and its sidecar. `name` defaults to its only figure."""
    name = outputs.names(args)[0] if name is None else name
    save(fig, outputs.paths(args, name))
    outputs.describe(args, name)


class Page(Figure):
    """A figure that matplotlib does not draw twice for each file.

    Before it draws a file, it draws all to no output, with the layout engine on, for the layout
    alone.
    """

    def draw(self, renderer: RendererBase) -> None:
        engine = self.get_layout_engine()
        if isinstance(engine, ConstrainedLayoutEngine):
            engine.execute(self)
        else:
            super().draw(renderer)


def subplots(*shape: int, **options: Any) -> tuple[Figure, Any]:
    """A page and its axes, as `pyplot.subplots` makes them."""
    return plt.subplots(*shape, FigureClass=Page, **options)


def panels(rows: int, columns: int, height: float, **shared: Any) -> tuple[Figure, Any]:
    """A figure as wide as a page, `height` in inches, and its (rows, columns) axes."""
    return subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, **shared)


def places(keys: Iterable[Sequence[Any]], gap: float) -> dict[tuple[Any, Any], float]:
    """Positions of pairs from left to right, 1 apart, and `gap` more between groups.

    A group is a series of pairs with the same first element.
    """
    positions: dict[tuple[Any, Any], float] = {}
    x, last = -1.0, None
    for first, second in keys:
        x += gap if positions and first != last else 0
        x += 1
        positions[first, second], last = x, first
    return positions


def name_groups(ax: Axes, middles: dict[str, float], pad: float, **text: Any) -> None:
    """Names below the tick labels, each at the middle of its group."""
    ax.xaxis.remove_overlapping_locs = False  # a tick may be at the same place
    ax.set_xticks(list(middles.values()), list(middles), minor=True, fontsize=6, **text)
    ax.tick_params(axis="x", which="minor", length=0, pad=pad)


def name_levels(ax: Axes, levels: Sequence[str], margin: float = 0.55) -> None:
    """Label the x axis with the resource levels, with a `margin` on both sides."""
    ax.set(xlabel="resource level", xlim=(-margin, len(levels) - 1 + margin))
    ax.set_xticks(range(len(levels)), levels)


def guess_line(ax: Axes, options: int | None) -> None:
    """Draw the accuracy of a random guess, if all questions have the same number of options."""
    if options:
        ax.axhline(1 / options, color=GREY, linestyle=":")


def condition_styles(conditions: Iterable[float | None]) -> dict[float | None, tuple[str, str]]:
    """Colour and marker of each condition of a figure. No two have the same marker."""
    styles: dict[float | None, tuple[str, str]] = {}
    # multiples of 0.05 first, which keep their own
    for condition in sorted(
        conditions, key=lambda b: (b is not None, round((b or 0) * 20) / 20 != b, b)
    ):
        colour, marker = condition_style(condition)
        used = {other for _, other in styles.values()}
        spare = next((other for other in _SMOOTHING_MARKERS if other not in used), marker)
        styles[condition] = (colour, spare if marker in used else marker)
    return styles


def condition_style(condition: float | None) -> tuple[str, str]:
    """Colour and marker of the base model (None) or of SFT with smoothing `condition`.

    Smoothings that lie close together can have one marker; `condition_styles` tells them apart.
    """
    if condition is None:
        return "#4D4D4D", "o"
    if condition == 0:
        return "#D55E00", "s"
    at = list(_SMOOTHING_COLOURS)
    rgb = np.array([to_rgb(colour) for colour in _SMOOTHING_COLOURS.values()])
    red, green, blue = (float(np.interp(condition, at, part)) for part in rgb.T)
    place = max(round(condition * 20), 1) - 1
    marker = _SMOOTHING_MARKERS[min(place, len(_SMOOTHING_MARKERS) - 1)]
    return to_hex((red, green, blue)), marker


def handle(
    name: str, colour: str, marker: str = "", line: LineStyle = "", filled: bool = True
) -> Line2D:
    """One entry of a legend."""
    look = {} if filled else OPEN
    return Line2D([], [], color=colour, marker=marker, linestyle=line, label=name, **look)


def condition_handles(conditions: Sequence[float | None], line: LineStyle = "") -> list[Line2D]:
    """One entry of a legend for each condition."""
    styles = condition_styles(conditions)
    return [handle(tables.label(c), *styles[c], line=line) for c in conditions]


def bars(
    rows: pd.DataFrame, level: float, kind: str = "bootstrap interval", marker: str = "|"
) -> list[Artist]:
    """The entry of a legend that says what the bars of `rows` are, if any has one.

    `marker` looks like a bar.
    """
    if rows[["ci_low", "ci_high"]].isna().to_numpy().all():
        return []
    return [bar(f"{100 * level:g} % {kind}", marker)]


def bar(name: str, marker: str, width: float = 1.0) -> Line2D:
    """An entry of a legend for bars, which have no marker of their own."""
    look: dict[str, Any] = {"markersize": 9, "markeredgewidth": width, "alpha": 0.7}
    return Line2D([], [], color=GREY, marker=marker, linestyle="", label=name, **look)


def legend(fig: Figure, handles: Sequence[Artist], title: str | None = None) -> None:
    """One legend for the whole figure, in a row above it."""
    fig.legend(
        handles=list(handles),
        loc="outside upper center",
        ncols=_columns(handles),
        columnspacing=1.2,
        handletextpad=0.4,
        title=title,
        title_fontproperties={"weight": "bold", "size": 8},
    )


def _columns(handles: Sequence[Artist]) -> int:
    """How many columns a legend has on a page: its rows are as few as fit, and alike.

    matplotlib fills one column after the other, each as wide as its widest entry.
    """
    widths = [len(str(entry.get_label())) * 4.0 + 36 for entry in handles]  # points
    for rows in range(1, len(widths) + 1):
        columns = math.ceil(len(widths) / rows)
        if sum(max(part) for part in np.array_split(widths, columns)) <= WIDTH * 72:
            return columns
    return 1


def change_legend(
    fig: Figure,
    conditions: Sequence[float | None],
    bars: Sequence[Artist],
    title: str | None = None,
) -> None:
    """The legend of the changes to SFT and to SFT with smoothing, of open markers and of `bars`."""
    befores = [tables.label(None), tables.label(0.0)]
    entries = [
        handle(f"{before} → {tables.label(condition)}", *condition_style(condition))
        for before, condition in zip(befores, conditions, strict=True)
    ]
    entries.append(handle(f"p ≥ {tables.ALPHA:g} (Holm)", GREY, "o", filled=False))
    legend(fig, [*entries, *bars], title)


def level_legend(
    fig: Figure, levels: Sequence[str], intervals: Sequence[Artist], dashed: str, guess: bool
) -> None:
    """The legend of resource levels, intervals, dashed lines and, with `guess`, a random guess."""
    entries: list[Artist] = [handle(name, *LEVEL_STYLE[name], line="-") for name in levels]
    entries += [*intervals, handle(dashed, GREY, line="--")]
    if guess:
        entries.append(handle("random guess", GREY, line=":"))
    legend(fig, entries)


def on_axis(languages: Iterable[str], few: dict[str, int], named: bool) -> dict[str, str]:
    """What an axis says of languages, by their codes.

    That is the code, with the English name before it if `named`, and with the number of questions
    where these are few.
    """
    shown = {code: spelt(code) if named else code for code in languages}
    return {code: f"{name} ({few[code]})" if code in few else name for code, name in shown.items()}


def spelt(code: str) -> str:
    """The English name of a language in CLDR, and its code; the code alone if it has none."""
    from multical.figures.language_names import language  # here: babel, which most figures need not

    name = language(code)
    return code if name == code else f"{name} ({code})"


def squeezes(rows: pd.DataFrame, *columns: str, zero: bool = False) -> bool:
    """Whether an axis that all models share would squeeze one of them into a part of it.

    `columns` of `rows` are drawn along that axis, which starts at 0 if `zero`.
    """
    by_model = rows[list(columns)].groupby(rows["model"])
    low, high = by_model.min().min(axis=1), by_model.max().max(axis=1)
    low = 0 * low if zero else low
    return bool((high - low < SQUEEZED * (high.max() - low.min())).any())


def whole(drawn: Line2D) -> None:
    """Draw markers whole that lie on the frame, such as those at 0."""
    drawn.set_clip_on(False)
    drawn.set_in_layout(False)  # without clipping, an empty line would have no bounds


def row_unless_squeezed(rows: pd.DataFrame) -> Literal["row", "none"]:
    """Which axes the panels of metrics and models share: those of a metric, or none."""
    for metric, part in rows.groupby("metric"):
        if squeezes(part, *ENDS, zero=metric == "ece"):
            return "none"
    return "row"


def with_intervals(
    ax: Axes,
    x: Any,
    rows: pd.DataFrame,
    colour: str,
    marker: str,
    line: LineStyle = "",
    size: float = 4,
    filled: bool = True,
) -> None:
    """Draw `value` at `x`, and a bar from `ci_low` to `ci_high`.

    The bar is not tied to the value, since the percentile interval of a biased statistic such as
    ECE may not contain it. A missing interval has no bar.
    """
    ax.vlines(x, rows["ci_low"], rows["ci_high"], color=colour, linewidth=0.25 * size, alpha=0.7)
    (drawn,) = ax.plot(x, rows["value"], color=colour, marker=marker, linestyle=line,
                       markersize=size,
                       **MARKER if filled else OPEN | {"markeredgecolor": colour})  # fmt: skip
    whole(drawn)


def by_language(
    rows: pd.DataFrame, params: NamedByLanguage, ylabel: str, line: tuple[float, str] | None = None
) -> Figure:
    """A row of panels per model: `value` of each language, grouped by resource level.

    `rows` has one metric, and a column `condition` as `tables.runs` adds it. The reference language
    of `params` is in bold, and languages with few questions have their number beside their name.
    `line` is a value to draw as a dotted line, and its name; without one, axes start at 0.
    """
    languages = tables.languages(rows)
    x = dict(zip(languages["language"], languages["place"], strict=True))
    models = tables.models(rows)
    zero = line is None
    sharey = not squeezes(rows, *ENDS, zero=zero)
    fig, axes = panels(len(models), 1, 0.8 + 1.75 * len(models), sharex=True, sharey=sharey)
    width = fig.get_size_inches()[0] * 72 * 0.9 / (max(x.values()) + 1)  # points per language
    conditions = tables.conditions(params)
    middle = (len(conditions) - 1) / 2
    for ax, model in zip(axes[:, 0], models, strict=True):
        for place, condition in enumerate(conditions):
            part = rows[(rows["model"] == model) & (rows["condition"] == tables.label(condition))]
            at = part["language"].map(x).to_numpy(float) + 0.27 * (place - middle) * min(
                1, 20 / width
            )
            with_intervals(ax, at, part, *condition_style(condition), size=min(4, 0.1 * width + 2))
        ax.set(title=model, ylabel=ylabel)
        ax.margins(y=0.14)  # room for the names of the levels
        if line is not None:
            ax.axhline(line[0], color=GREY, linestyle=":")
        for first in languages.drop_duplicates("resource_level")["place"].iloc[1:]:
            ax.axvline(first - 1, color=GREY, linewidth=0.6)
    for level, part in languages.groupby("resource_level", sort=False):
        axes[0, 0].annotate(
            level, (part["place"].mean(), 1), xycoords=("data", "axes fraction"), xytext=(0, -1),
            textcoords="offset points", ha="center", va="top", fontsize=7.5,
            color=GREY, fontstyle="italic", path_effects=HALO,
        )  # fmt: skip
    if zero:
        for ax in axes[:, 0]:
            ax.set_ylim(bottom=0)
    named = on_axis(x, tables.few(rows, params.least_questions), params.language_names)
    at_name = dict(zip(named.values(), x.values(), strict=True))
    _language_names(axes[-1, 0], at_name, named.get(params.reference_language, ""), width < 14)
    xlabel = "language, by resource level" + _number(tables.questions(rows))
    axes[-1, 0].set(xlim=(-0.8, max(x.values()) + 0.8), xlabel=xlabel)
    dotted = [handle(line[1], GREY, line=":")] if line is not None else []
    legend(fig, [*condition_handles(conditions), *bars(rows, params.level), *dotted])
    return fig


def _number(questions: dict[str, int]) -> str:
    """How many questions languages have, in brackets."""
    if not questions:
        return ""
    low, high = min(questions.values()), max(questions.values())
    return f" ({high} questions each)" if low == high else f" ({low} to {high} questions each)"


def _language_names(ax: Axes, x: dict[str, float], bold: str, crowded: bool) -> None:
    """Label the x axis with the languages.

    Long tags are upright. Short tags are in two staggered rows if the axis is crowded.
    """
    upright = max(map(len, x)) > 3
    names, stagger = list(x), crowded and not upright
    ax.set_xticks([x[name] for name in names[:: 1 + stagger]], names[:: 1 + stagger])
    if stagger:
        ax.set_xticks([x[name] for name in names[1::2]], names[1::2], minor=True)
        ax.tick_params(axis="x", which="minor", pad=10)
    for text in [*ax.get_xticklabels(), *ax.get_xticklabels(minor=True)]:
        text.set(fontsize=6.5, rotation=90 if upright else 0)
        if text.get_text() == bold:
            text.set_fontweight("bold")


def small_ticks(ax: Axes, label: str) -> None:
    """Label the x axis, and its few ticks, so that they do not overlap if values are small."""
    ax.locator_params(axis="x", nbins=3)
    low, high = ax.get_xlim()
    exponent = math.floor(math.log10(max(abs(low), abs(high))))
    exponent = 0 if exponent >= -2 else exponent  # 0.01 and 0.05 are short enough
    ax.xaxis.set_major_formatter(lambda value, _: plain(value / 10.0**exponent))
    if exponent:
        label += f" (10$^{{{exponent}}}$)"
    ax.set_xlabel(label)


def plain(value: float) -> str:
    """A number for readers, as short as it is exact, with the sign that matplotlib writes."""
    return f"{round(value, 6) + 0:g}".replace("-", "\N{MINUS SIGN}")


def label_points(ax: Axes, x: np.ndarray, y: np.ndarray, names: dict[int, str]) -> None:
    """Write `names` (by index of the point) beside points, where each hides the fewest others.

    The layout of the figure must be final.
    """
    scale = ax.figure.dpi / 72
    points = ax.transData.transform(np.column_stack([x, y])) / scale  # in points on paper
    frame = ax.bbox.get_points() / scale
    taken: list[tuple[float, float, float, float]] = []
    turns = [(gap, turn) for gap in (3.0, 9.0, 15.0) for turn in range(8)]
    for index, name in names.items():
        half = np.array([2.1 * len(name) + 0.5, 3.2])
        others = np.delete(points, index, axis=0)
        best, far, least = (0.0, 0.0), False, math.inf
        for gap, turn in turns:
            angle = turn * math.pi / 4
            shift = (gap + half) * (math.cos(angle), math.sin(angle))
            low, high = points[index] + shift - half, points[index] + shift + half
            hits = ((others > low - 4) & (others < high + 4)).all(axis=1).sum()
            hits += 10 * sum(
                low[0] < right and high[0] > left and low[1] < top and high[1] > bottom
                for left, bottom, right, top in taken
            )
            hits += 10 * bool((low < frame[0]).any() or (high > frame[1]).any())
            if hits < least:
                best, far, least = (float(shift[0]), float(shift[1])), gap > 3, float(hits)
        centre = points[index] + best
        taken.append((*(centre - half), *(centre + half)))
        ax.annotate(
            name, (x[index], y[index]), xytext=best, textcoords="offset points", fontsize=6.5,
            ha="center", va="center", path_effects=HALO,
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": GREY} if far else None,
        )  # fmt: skip


def name_outliers(
    ax: Axes, x: np.ndarray, y: np.ndarray, languages: Sequence[str], reference: str, count: int
) -> None:
    """Name the `count` languages furthest from the median, and the reference language."""
    distance = np.hypot(x - np.median(x), y - np.median(y))
    far = [int(i) for i in np.argsort(-distance, kind="stable")[:count]]
    far += [i for i, name in enumerate(languages) if name == reference and i not in far]
    label_points(ax, x, y, {i: languages[i] for i in far})


def language_points(
    ax: Axes, x: pd.Series, y: pd.Series, few: pd.Series, look: tuple[str, str], size: float = 14
) -> list[PathCollection]:
    """A point for each language, open for those with few questions (true in `few`)."""
    colour, marker = look
    drawn = [scatter(ax, x[~few], y[~few], colour, marker, size)]
    if few.any():
        edge: dict[str, Any] = {"facecolor": "white", "edgecolor": colour, "linewidth": 0.8}
        drawn.append(ax.scatter(x[few], y[few], s=size, marker=marker, **edge))
    return drawn


def few_handle(few: dict[str, int]) -> list[Line2D]:
    """The entry of a legend for the open points of `language_points`, if there are any."""
    return [handle("few questions", GREY, "o", filled=False)] if few else []


def scatter(ax: Axes, x: Any, y: Any, colour: str, marker: str, size: Any = 14) -> PathCollection:
    """Points with a thin white edge."""
    return ax.scatter(x, y, s=size, color=colour, marker=marker, edgecolor="white", linewidth=0.3)
