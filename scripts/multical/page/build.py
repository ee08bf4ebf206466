"""The page of a study as one HTML file, from the template beside this module."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from multical import paths
from multical.claims import report
from multical.claims.schema import NOT_TESTABLE
from multical.page import explorer, facts, finding, near, products
from multical.page.contents import STYLES, TEMPLATE, PageJob, answered
from multical.page.products import Shown

HERE = Path(__file__).parent


def html(page: PageJob) -> str:
    """The whole page. The same files give the same text."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"marked": marked}
    return environment.get_template(TEMPLATE).render(context(page))


def context(page: PageJob) -> dict[str, Any]:
    """All that the template reads."""
    root, config = page.study, page.config
    document = report.read(paths.VERDICTS.format(root=root))
    shown = list(products.show(page))
    name = finding.headline_figure(config, root)
    headline = next(one for one in shown if (one.product.name, one.product.panel) == (name, ""))
    figures = [one for one in shown if one.product.form == "figure" and one is not headline]
    return {
        "root": root,
        "kind": facts.KINDS[config.studies[root].kind],
        "target": paths.PAGE.format(root=root),
        "style": Markup("".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)),
        "explorer": Markup(explorer.embedded(explorer.data(config, root))),
        "library": Markup(explorer.library()),
        "script": Markup(explorer.script()),
        "finding": finding.find(config, root),
        "headline": headline,
        "detail": finding.detail(config, root),
        "measured": not answered(config, root),
        "scale": facts.scale(config, root),
        "facts": facts.facts(config, root),
        "claims": facts.verdicts(document),
        "counted": report.counted(document),
        "testable": any(one["verdict"] != NOT_TESTABLE for one in document["claims"].values()),
        "note": report.note(document),
        "tests": report.TESTS,
        "variants": report.VARIANTS,
        "otherwise": report.OTHERWISE,
        "near": list(near.links(page)),
        "figures": [one for one in figures if not one.product.panel],
        "panels": by_panel([one for one in figures if one.product.panel]),
        "tables": by_panel([one for one in shown if one.product.form == "table"]),
        "picture": lambda one: products.picture(f"{root}/{one.stem}.png"),
        "table": lambda one: products.table(f"{root}/{one.stem}.csv"),
    }


def by_panel(shown: list[Shown]) -> list[tuple[str, list[Shown]]]:
    """Figures or tables by the data that they show."""
    return [(panel, list(own)) for panel, own in groupby(shown, key=lambda one: one.panel)]


def marked(path: str) -> Markup:
    """A path or a long name that may break after a slash, a point or an underscore."""
    text = Markup.escape(path)
    for mark in "/._":
        text = text.replace(mark, Markup(f"{mark}<wbr>"))
    return text
