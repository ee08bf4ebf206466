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


def scatter(ax: Axes, x: Any, y: Any, colour: str, marker: str, size: Any = 14) -> PathCollection:
    """Points with a thin white edge."""
    return ax.scatter(x, y, s=size, color=colour, marker=marker, edgecolor="white", linewidth=0.3)
