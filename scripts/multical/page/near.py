"""Links from the page of a study to those around and inside it, and how their numbers differ."""

from __future__ import annotations

import os
from collections.abc import Iterator

from multical import paths
from multical.config.schema import Config
from multical.config.studies import runs
from multical.names import readout_name
from multical.page import facts
from multical.page.contents import PageJob, answered

#: More runs that a study of paper 2 leaves out are not named
FEW = 4


def links(page: PageJob) -> Iterator[dict[str, str]]:
    """Links to the pages of studies around and inside that of a page; `same` is empty or text."""
    for other, one in page.near.items():
        yield {
            "page": paths.PAGE.format(root=os.path.relpath(other, page.study)),
            "kind": facts.KINDS[one.kind],
            "same": _same_models(page, other) if one.same_models else "",
        }


def _same_models(page: PageJob, other: str) -> str:
    """How the numbers of the same models, on two pages, differ."""
    config, root = page.config, page.study
    if not answered(config, root):
        return (
            "It has models of this study under names of its own, and asks them for letters: their "
            f"accuracies and confidences differ from those here, {_read_by(config, root)}."
        )
    study = config.chat_confidence(root)
    trains = config.multilingual(other)
    alone = [
        facts.run_name(trains, run)
        for name, run in runs(trains).items()
        if name not in study.by_run
    ]
    more = f" Only there: {'; '.join(alone)}." if 0 < len(alone) <= FEW else ""
    return (
        "It has the same models by other names (see What was run). Their accuracies and "
        f"confidences there, {_read_by(config, other)}, differ from those here, read from "
        f"letters.{more}"
    )


def _read_by(config: Config, root: str) -> str:
    return f"read by {readout_name(config.measured(root).figures.readout)}"
