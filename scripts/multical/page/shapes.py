"""The markers of figures as shapes of Vega."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

#: The widest marker of matplotlib is 1 wide and its y points up; a shape of Vega is 2 wide
SCALE = (2.0, -2.0)
#: Commands of SVG by those of matplotlib
COMMANDS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}


def of_marker(marker: Any) -> str:
    """The outline of a marker as a path of SVG, with three digits behind the point."""
    style = MarkerStyle(marker)
    outline = style.get_path().transformed(style.get_transform())
    parts = []
    for points, code in outline.iter_segments(simplify=False):
        if code == Path.CLOSEPOLY:
            parts.append("Z")
            continue
        numbers = (np.reshape(points, (-1, 2)) * SCALE).round(3) + 0.0  # no -0
        parts.append(COMMANDS[code] + ",".join(f"{number:g}" for number in numbers.flat))
    return "".join(parts)
