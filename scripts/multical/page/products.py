"""All that the page shows of figures and tables, with the captions of Snakemake's report."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from multical.errors import InputError
from multical.figures import msp_tables
from multical.names import billions, metric_name
from multical.page.contents import PageJob, Product, answered
from multical.provenance.sidecar import check_output, relative
from multical.workflow import captions, job_params, msp_params

#: Columns whose cells are keys of metrics
KEYS = ("metric", "measure", "x", "y")
#: Rows of a table that the page shows; all are in the file beside it
ROWS = 24
#: Red, green and blue, from 0 to 255, are multiples of it in pictures: nobody sees the difference
STEP = 8
#: What they become
FEWER = np.minimum(np.round(np.arange(256) / STEP) * STEP, 255).astype(np.uint8)


class Wildcards(dict[str, str]):
    """The wildcards of a job, as captions read them."""

    __getattr__ = dict.__getitem__


@dataclass(frozen=True)
class Shown:
    """A figure or a table as the template takes it."""

    product: Product
    id: str
    title: str
    panel: str
    caption: Markup
    #: The first sentence of the caption, as text
    summary: str
    #: The path of its files without their ending, from the folder of the page
    stem: str
    sidecar: dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """A figure's picture inside of the page."""

    source: str
    width: int
    height: int


@dataclass(frozen=True)
class Table:
    """The first rows of a table, and how many there are. Plain names have keys as tooltips."""

    columns: list[str]
    rows: list[list[str]]
    total: int


def show(page: PageJob) -> Iterator[Shown]:
    """All figures and tables of a page."""
    for number, product in enumerate(page.products):
        text = caption(page, product)
        stem = product.stem(page.study)
        yield Shown(
            product=product,
            id=f"{product.form}-{number}",
            title=title(product),
            panel=panel_name(page, product),
            caption=text,
            summary=first_sentence(text),
            stem=stem.removeprefix(f"{page.study}/"),
            sidecar=sidecar(f"{stem}.json", product.files(page.study)[0]),
        )


def title(product: Product) -> str:
    """What a figure or table is called."""
    words = captions.readable(product.name)
    name = " ".join(filter(None, [f"{words[0].upper()}{words[1:]}", product.model]))
    return name if product.form == "figure" else f"{name} table"


def panel_name(page: PageJob, product: Product) -> str:
    """Which data a product shows, if it has others beside it."""
    config, root = page.config, page.study
    panels: Mapping[str, Any] = (
        msp_params.panels(config, root)
        if answered(config, root)
        else job_params.panels(config, root)
    )
    shown = panels[product.panel]
    if isinstance(shown, str):
        name = msp_params.answers(config, root).dataset_names[shown]
        return "all data sets" if shown == "all" else f"data set {name}"
    benchmark, sft = shown
    return benchmark if sft is None else f"{benchmark}, SFT on {sft}"


def caption(page: PageJob, product: Product) -> Markup:
    """The caption of a product as HTML; raises `InputError` for one that is not there or wrong."""
    wildcards = Wildcards(root=page.study, panel=product.panel)
    if product.model:
        wildcards["model"] = product.model
    snakemake = {"config": captions.functions(page.config), "wildcards": wildcards}
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    try:
        text = Path(product.caption).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{product.caption}: not readable, expected a caption") from error
    return rendered(environment.from_string(text).render(snakemake=snakemake))


def rendered(text: str) -> Markup:
    """reStructuredText as HTML."""
    settings = {
        "_disable_config": True, "file_insertion_enabled": False, "raw_enabled": False,
        "halt_level": 2, "report_level": 2, "initial_header_level": 5,
    }  # fmt: skip
    parts = publish_parts(text, writer="html5", settings_overrides=settings)
    return Markup(parts["body"])


def first_sentence(caption: Markup) -> str:
    """The first sentence of a caption, as text without marks."""
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", "", caption)).split())
    return re.split(r"(?<=[.:])\s+(?=[A-Z])", text)[0]


def picture(path: str) -> Picture:
    """A picture as lossless WebP of fewer colours, which takes a third of the bytes of a PNG."""
    colours = np.rint(matplotlib.image.imread(path)[..., :3] * 255).astype(np.uint8)
    pixels = FEWER[colours]
    stream = io.BytesIO()
    lossless = {"lossless": True, "method": 3, "quality": 50}
    matplotlib.image.imsave(stream, pixels, format="webp", pil_kwargs=lossless)
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    height, width = pixels.shape[:2]
    return Picture(f"data:image/webp;base64,{encoded}", width, height)


def table(path: str, limit: int = ROWS) -> Table:
    """The first rows of a CSV file. The ends of an interval stand beside its value."""
    with open(path, encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        rows, names = list(reader), list(reader.fieldnames or ())
    if not names:
        raise InputError(f"{path}: no columns, expected a table")
    ends = {name: found for name in names if (found := _ends(name, names))}
    signs = {"value": "+"} if {"before", "after"} <= {*names} else {}  # a change has a sign
    columns = [
        name for name in names if name not in {end for pair in ends.values() for end in pair}
    ]
    return Table(
        columns=list(map(plain, columns)),
        rows=[
            [_cell(row, name, ends.get(name), signs.get(name, "")) for name in columns]
            for row in rows[:limit]
        ],
        total=len(rows),
    )


def _ends(name: str, names: list[str]) -> list[str]:
    """The columns of the interval of a column, if it has one."""
    ends = ["ci_low", "ci_high"] if name == "value" else [f"{name}_low", f"{name}_high"]
    return ends if set(ends) <= set(names) else []


def _cell(row: Mapping[str, str], name: str, ends: list[str] | None, sign: str) -> str:
    if name in KEYS:
        return plain(row[name])
    if name == "size" and row[name]:
        return billions(float(row[name]))
    if not ends or not all(row[end] for end in ends):
        return number(row[name], sign)
    low, high = (number(row[end], sign) for end in ends)
    return f"{number(row[name], sign)} [{low}, {high}]"


def plain(key: str) -> Markup:
    """What a metric or a column is called, with its key as a tooltip if that is another text."""
    name = msp_tables.QUANTITIES.get(key, metric_name(key))
    return Markup("{}" if name == key else '<span title="{1}">{0}</span>').format(name, key)


def number(text: str, sign: str = "") -> str:
    """A number with three digits, and a plus if `sign` is that; any other text as it is."""
    if not re.fullmatch(r"-?\d+\.\d+(e[+-]?\d+)?", text):
        return text
    value = float(text)
    digits = "3f" if 0.001 <= abs(value) < 1000 or value == 0 else "3g"
    return f"{value:{sign}.{digits}}"


def sidecar(path: str, shown: str) -> dict[str, Any]:
    """What made a product, without the seconds: the page is the same if it is made again.

    Raises `InputError` if the file that is shown was changed since.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        keys = ("rebuild", "code", "seed", "params", "inputs", "python", "libraries", "machine")
        found, made = {key: document[key] for key in keys}, dict(document["outputs"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not readable as a sidecar ({error!r})") from error
    if then := made.get(relative(shown)):
        check_output(shown, then, path)
    return found
