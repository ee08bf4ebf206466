"""The explorer of a study's page: what it asks of the study's files, and the library of its charts.

The scripts in explore/, one on the page, draw it from `data`, and explorer.css styles it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from snakemake.assets import Assets

from multical.config.schema import Config
from multical.config.studies import Measured
from multical.page import by_language, by_model, sources
from multical.page.contents import SCRIPTS

HERE = Path(__file__).parent
#: Snakemake's package has the libraries of its report, whose checksums it compares
LIBRARY = ("vega/vega.js", "vega-lite/vega-lite.js")
#: What follows them there
NEXT = "vega-embed/vega-embed.js"


def data(config: Config, root: str) -> dict[str, Any]:
    """What the explorer shows of a study, ready for JSON."""
    return (by_language if isinstance(config.studies[root], Measured) else by_model).data(
        config, root
    )


def inputs(config: Config, root: str) -> list[str]:
    """The files that `data` reads."""
    return sources.inputs(config, root)


def embedded(found: Any) -> str:
    """JSON that a script element can hold: no text in it begins or ends an element."""
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def script() -> str:
    """All scripts of the page but the library, in a scope of their own."""
    parts = [(HERE / name).read_text(encoding="utf-8") for name in SCRIPTS]
    return "\n".join(["(() => {\n'use strict';\n", *parts]) + "})();\n"


def library() -> str:
    """Vega and Vega-Lite as one script that needs no network, with the licences of all in it."""
    listed = list(Assets.spec)
    parts = []
    # a library is followed by the licences of what it is made from, up to the next library
    for path in listed[listed.index(LIBRARY[0]) : listed.index(NEXT)]:
        text = Assets.get_content(path)
        name = path.partition("/")[0]
        parts.append(text if path in LIBRARY else f"/*! {name}\n{text.strip()}\n*/")
    return "\n".join(parts).replace("</script", "<\\/script")
