"""Light commands start without the libraries of the heavy ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODELS = {"torch", "transformers", "trl", "datasets", "accelerate"}
TABLES = {"numpy", "pandas", "pyarrow", "scipy", "matplotlib"}
#: They run a model
HEAVY = {"evaluate_sft", "score_run", "train_sft"}
#: They answer at once: neither a model nor a table
LIGHT = ["adopt_trial", "choose_learning_rate", "doctor", "fetch_model", "recover", "show_plan"]
SCRIPTS = sorted(file.stem for file in (ROOT / "scripts").glob("*.py"))


def loaded(code: str) -> set[str]:
    """Libraries that a new Python has after running some code in the scripts' folder."""
    code = f"import sys; sys.path.insert(0, 'scripts'); {code}; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_what_runs_no_model_loads_none() -> None:
    """All scripts but three, imported together."""
    names = [name for name in SCRIPTS if name not in HEAVY]
    assert len(names) > 30
    assert not loaded(f"import {', '.join(names)}") & MODELS


@pytest.mark.parametrize("name", LIGHT)
def test_light_commands_load_no_tables_either(name: str) -> None:
    assert not loaded(f"import {name}") & (MODELS | TABLES)


def test_a_dry_run_loads_neither() -> None:
    """Snakemake itself, the Snakefile, and the rules: all of this machine's demo."""
    run = "from snakemake.cli import main; sys.argv[1:] = ['-n', '-q', 'all', "
    run += (
        "'results/demo/headline.txt']\ntry: main()\nexcept SystemExit as end: assert not end.code"
    )
    found = loaded(f"exec({run!r})")
    assert "multical.config" in found
    assert not found & (MODELS | {"numpy", "pandas", "scipy", "matplotlib"})
