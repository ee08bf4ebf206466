"""Which parts of a file differ: functions, methods, constants, imports, by name."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from multical.provenance import code_parts
from multical.provenance.code_parts import describe, parts

CODE = '''
    """A module."""
    import numpy as np
    from multical.near import far, near

    WIDTH = 3
    HEIGHT: int = 4


    def draw(x):
        """Draw it."""
        return x + WIDTH


    class Box:
        """A box."""

        side: int = 1

        def area(self):
            return self.side**2

        @property
        def edge(self):
            return self.side


    if __name__ == "__main__":
        draw(1)
    '''


def found(folder: Path, *edits: tuple[str, str]) -> str:
    """What is said of edits of `CODE`."""
    before = dedent(CODE).lstrip()
    after = before
    for old, new in edits:
        assert old in after
        after = after.replace(old, new)
    for name, text in (("then.py", before), ("now.py", after)):
        (folder / name).write_text(text, encoding="utf-8")
    return describe(parts(folder / "then.py"), parts(folder / "now.py"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("x + WIDTH", "(x + WIDTH)  # why", ""),
        ("Draw it.", "Draw it well.", ""),
        ("\n\n\ndef draw", "\ndef draw", ""),
        ("x + WIDTH", "x - WIDTH", "draw changed"),
        ("def draw(x)", "def draw(x, y)", "draw changed"),
        ("def draw", "@np.vectorize\ndef draw", "draw changed"),
        ("WIDTH = 3", "WIDTH = 4", "WIDTH changed"),
        ("HEIGHT: int = 4", "HEIGHT: float = 4", "HEIGHT changed"),
        ("side**2", "side**3", "Box.area changed"),
        ("side: int = 1", "side: int = 2", "Box.side changed"),
        ("class Box:", "class Box(dict):", "Box changed"),
        ("    @property\n", "", "Box.edge changed"),
        ("draw(1)", "draw(2)", "module level changed"),
        ("WIDTH = 3\n", "WIDTH = 3\nDEPTH = 5\n", "DEPTH added"),
        ("WIDTH = 3\n", "", "WIDTH removed"),
        ("WIDTH = 3\nHEIGHT: int = 4\n", "HEIGHT: int = 4\nWIDTH = 3\n", ""),
        ("import numpy as np", "import numpy", "import numpy added; import numpy as np removed"),
        ("far, near", "far", "from multical.near import near removed"),
        ("far, near", "near, far", ""),
        ("def draw", "def paint", "paint added; draw removed"),
        ("def area", "def surface", "Box.surface added; Box.area removed"),
        (
            "class Box",
            "class Case",
            "Case.side, Case.area, Case.edge, Case added; "
            "Box.side, Box.area, Box.edge, Box removed",
        ),
    ],
)
def test_an_edit_is_told_by_the_name_of_its_part(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert found(tmp_path, (old, new)) == said


def test_several_edits_of_a_file(tmp_path: Path) -> None:
    edits = [("WIDTH = 3", "WIDTH = 4"), ("x + WIDTH", "x"), ("def area", "def surface"),
             ("HEIGHT: int = 4\n", "def more():\n    pass\n")]  # fmt: skip
    assert found(tmp_path, *edits) == (
        "WIDTH, draw changed; more, Box.surface added; HEIGHT, Box.area removed"
    )


def test_parts_are_kept_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = found(tmp_path, ("WIDTH = 3", "WIDTH = 4"))
    with monkeypatch.context() as patch:
        patch.setattr(code_parts, "_parts", None)  # no file is parsed again
        parts.cache_clear()
        assert found(tmp_path, ("WIDTH = 3", "WIDTH = 4")) == said == "WIDTH changed"
    parts.cache_clear()
    assert found(tmp_path, ("WIDTH = 3", "DEPTH = 4")) == "DEPTH added; WIDTH removed"


def test_two_of_one_name_are_one_part(tmp_path: Path) -> None:
    file = tmp_path / "twice.py"
    file.write_text("def a():\n    return 1\n\n\ndef a():\n    return 2\n", encoding="utf-8")
    (name,) = parts(file)
    assert describe(parts(file), {name: "other"}) == "a changed"
