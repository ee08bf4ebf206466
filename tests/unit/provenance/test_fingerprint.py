"""Code fingerprints: what changes them, what does not, and on the real tree."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from multical.errors import InputError
from multical.provenance import fingerprint as module

TREE = {
    "job.py": '''
        """A job."""
        import json
        from multical.near import near

        def main() -> None:
            """Do it."""
            print(json.dumps(near(1)))
        ''',
    "multical/__init__.py": '"""The package."""\n',
    "multical/near.py": '''
        """Near."""
        import numpy as np
        from multical import far

        def near(x):
            return far.far(np.float64(x))
        ''',
    "multical/far.py": """
        def far(x):
            import sklearn.metrics
            import multical.fields
            return x + 1
        """,
    "multical/fields.py": """
        from pydantic import Field

        FIELD = Field(ge=1, description="Of one")
        TITLE = dict(description="Of two")
        """,
    "multical/other.py": "import pandas\nVALUE = 1\n",
}
LOCK = "# a comment\nnumpy==1.0\npydantic==2.0\nscikit-learn==2.0\npandas==3.0\nAn_Odd.Name==1\n"


class Tree:
    """A folder of scripts of its own, whose files a test edits."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, text: str) -> None:
        path = self.root / "scripts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def code(self) -> str:
        forget()
        return module.fingerprint("job")


def forget() -> None:
    """Have files be read again, of this folder or of another."""
    for function in ("fingerprint", "_parsed", "_lines", "_files", "_lock"):
        getattr(module, function).cache_clear()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    made = Tree(tmp_path)
    for name, text in TREE.items():
        made.write(name, text)
    (tmp_path / "requirements.lock").write_text(LOCK, encoding="utf-8")
    monkeypatch.setattr(module, "SCRIPTS", tmp_path / "scripts")
    monkeypatch.setattr(module, "LOCK", tmp_path / "requirements.lock")
    yield made
    forget()  # what was read here, so that other tests read the real files


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("scripts/job.py", "import json", "import json  # why not"),
        ("scripts/job.py", "A job.", "Another text of the job."),
        ("scripts/job.py", "Do it.", "Do it well."),
        ("scripts/job.py", '    """Do it."""\n', ""),
        (
            "scripts/job.py",
            "print(json.dumps(near(1)))",
            "print(\n        json.dumps(near(1)),\n    )",
        ),
        ("scripts/multical/near.py", "\ndef near", "\n\n\n# nearer\ndef near"),
        ("scripts/multical/near.py", '"""Near."""', "'''Not so far.'''"),
        ("scripts/multical/__init__.py", "The package.", "A package."),
        ("scripts/multical/far.py", "x + 1", "(x + 1)"),
        ("scripts/multical/fields.py", "Of one", "Of the first"),
        ("scripts/multical/fields.py", ', description="Of one"', ""),
        ("scripts/multical/other.py", "VALUE = 1", "VALUE = 2"),
        ("requirements.lock", "pandas==3.0", "pandas==3.1"),
        ("requirements.lock", "# a comment", "# another"),
    ],
)
def test_it_stays(tree: Tree, name: str, old: str, new: str) -> None:
    before = tree.code()
    tree.edit(name, old, new)
    assert tree.code() == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("scripts/job.py", "near(1)", "near(2)"),
        ("scripts/job.py", "near(1)", "near(1.0)"),
        ("scripts/multical/near.py", "far.far(", "-far.far("),
        ("scripts/multical/far.py", "x + 1", "x - 1"),
        ("scripts/multical/fields.py", "ge=1", "ge=2"),
        ("scripts/multical/fields.py", "Of two", "Of the second"),
        ("scripts/multical/far.py", "x + 1", 'x + 1 or "x"'),
        ("scripts/multical/__init__.py", '"""The package."""', "import json"),
        ("requirements.lock", "numpy==1.0", "numpy==1.1"),
        ("requirements.lock", "scikit-learn==2.0", "scikit-learn==2.1"),
    ],
)
def test_it_changes(tree: Tree, name: str, old: str, new: str) -> None:
    before = tree.code()
    tree.edit(name, old, new)
    assert tree.code() != before


@pytest.mark.parametrize(
    "statement",
    [
        "import multical.other",
        "import json, multical.other as o",
        "from multical import far, other",
        "from multical.other import VALUE",
        "def late():\n    from multical.other import VALUE",
        "if True:\n    import multical.other",
        "class A:\n    def late(self):\n        import multical.other",
    ],
)
def test_every_form_of_import_is_followed(tree: Tree, statement: str) -> None:
    tree.edit("scripts/multical/far.py", "def far", f"{statement}\n\ndef far")
    before = tree.code()
    tree.edit("scripts/multical/other.py", "VALUE = 1", "VALUE = 2")
    assert tree.code() != before


def test_an_import_of_a_module_alone_runs_its_package(tree: Tree) -> None:
    tree.write("job.py", "import multical.other\n")
    before = tree.code()
    tree.edit("scripts/multical/__init__.py", '"""The package."""', "VALUE = 1")
    assert tree.code() != before


def test_modules_may_import_each_other(tree: Tree) -> None:
    tree.edit("scripts/multical/far.py", "def far", "from multical import near\n\ndef far")
    before = tree.code()
    tree.edit("scripts/multical/near.py", "np.float64(x)", "x")
    assert tree.code() != before


def test_names_of_libraries_are_compared_as_the_index_compares_them(tree: Tree) -> None:
    tree.edit("scripts/job.py", "import json", "import json, an_odd_name")
    tree.code()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("import json", "import requests", r"job\.py: imports requests, which requirements\.lock"),
        ("import json", "from . import near", r"job\.py: line 2: a relative import"),
        ("import json", "from .multical import near", r"job\.py: line 2: a relative import"),
        ("import json", "import tree", r"job\.py: imports tree, which"),  # another script
    ],
)
def test_imports_that_are_refused(tree: Tree, old: str, new: str, sentence: str) -> None:
    tree.edit("scripts/job.py", old, new)
    with pytest.raises(InputError, match=sentence):
        tree.code()


def test_what_was_found_is_kept_beside_byte_code(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree.code()
    kept = tree.root / "scripts" / "__pycache__" / "job.fingerprint.json"
    assert kept.is_file()
    with monkeypatch.context() as patch:
        patch.setattr(module, "_found", None)  # no file is parsed again
        assert tree.code() == before
    for content in ("", "[1", "3", "[1, 2]", json.dumps(["0" * 64, "0", []])):
        kept.write_text(content)
        assert tree.code() == before
    monkeypatch.setattr(module, "_reader", lambda: b"another Python")
    parsed: list[str] = []

    def found(text: bytes, name: str) -> tuple[str, list[str]]:
        parsed.append(name)
        return str(len(text)), []

    monkeypatch.setattr(module, "_found", found)
    assert tree.code() != before
    assert parsed == ["job.py"]


def test_a_folder_that_takes_no_files_is_read_all_the_same(tree: Tree) -> None:
    (tree.root / "scripts" / "__pycache__").write_text("no folder")
    assert tree.code() == tree.code()


def test_a_script_that_is_not_there(tree: Tree) -> None:
    (tree.root / "scripts" / "job.py").unlink()
    with pytest.raises(InputError, match=r"job\.py: no such script"):
        tree.code()


SCRIPTS = sorted(path.stem for path in module.SCRIPTS.glob("*.py"))


def closure(script: str) -> set[str]:
    """Names of the multical modules in a real script's fingerprint."""
    return {path.stem for path in module._closure(module.SCRIPTS / f"{script}.py")} - {script}


@pytest.mark.parametrize("script", SCRIPTS)
def test_real_scripts_have_a_fingerprint(script: str) -> None:
    code = module.fingerprint(script)
    assert code == module.fingerprint(script)
    assert len(code) == 16
    int(code, 16)


def test_real_fingerprints_differ() -> None:
    assert len({module.fingerprint(script) for script in SCRIPTS}) == len(SCRIPTS)


@pytest.mark.parametrize(
    ("changed", "scripts"),
    [
        ("smoothing", {"train_sft"}),
        ("sft", {"train_sft"}),
        ("examples", {"train_sft", "evaluate_sft"}),
        ("scorer", {"score_run"}),
        ("tokenized", {"score_run"}),
        ("trie", {"train_sft", "score_run"}),
        ("cldr_facts", {"make_benchmark", "make_sft_data"}),
    ],
)
def test_what_reruns_when_a_module_changes(changed: str, scripts: set[str]) -> None:
    assert {script for script in SCRIPTS if changed in closure(script)} == scripts


@pytest.mark.parametrize("script", ["fetch_model", "train_sft", "score_run", "evaluate_sft"])
def test_what_needs_a_model_does_not_rerun_for_metrics_or_figures(script: str) -> None:
    later = {"style", "definitions", "readouts", "tables", "bootstrap", "blocks", "sidecar"}
    assert not closure(script) & (later | {"schema", "job_params", "fingerprint"})


@pytest.mark.parametrize(
    "script",
    [
        "compute_metrics",
        "bin_reliability",
        "compute_culture",
        "compute_recalibration",
        "compute_effects",
        "compute_fertility",
    ],
)
def test_what_computes_metrics_does_not_rerun_for_models_or_figures(script: str) -> None:
    assert not closure(script) & {
        "style",
        "scorer",
        "trie",
        "tokenized",
        "checkpoints",
        "chat",
        "tables",
    }


@pytest.mark.parametrize("script", SCRIPTS)
def test_only_plots_rerun_for_the_plotting_helper(script: str) -> None:
    # a page shows conditions as its figures do, and runs after them anyway
    drawn = script.startswith("plot_") or script == "make_page"
    assert ("style" in closure(script)) <= drawn


def test_no_module_is_imported_by_a_name_built_at_run_time() -> None:
    """The fingerprint could not follow it."""
    for path in module.SCRIPTS.rglob("*.py"):
        names = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
        assert not names & {"importlib", "__import__"}, path


def test_what_is_installed_is_that_of_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.not_as_locked() == []
    monkeypatch.setattr(module, "_lock", lambda: {"numpy": "0.1", "nothing-of": "1"})
    numpy, nothing = module.not_as_locked()
    assert numpy.startswith("numpy: the lock has 0.1, here it is ")
    assert nothing == (
        "nothing-of: the lock has 1, here it is not installed: rm .venv/lock; make env installs it"
    )
