"""Light commands start without the libraries of the heavy ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODELS = {"torch", "transformers", "trl", "datasets", "accelerate"}
TABLES = {"numpy", "pandas", "pyarrow", "scipy", "matplotlib", "numba"}
HEAVY = {"evaluate_sft", "score_run", "train_sft"}
#: They answer at once: neither a model nor a table
LIGHT = [
    "adopt_trial", "choose_learning_rate", "doctor", "fetch_model", "recover", "show_plan",
    "show_reasons", "stop", "submit",
]  # fmt: skip
SCRIPTS = sorted(file.stem for file in (ROOT / "scripts").glob("*.py"))


def loaded(code: str) -> set[str]:
    """Libraries that a new Python has after running some code in the scripts' folder."""
    code = f"import sys; sys.path[:0] = ['scripts', 'tools']; {code}; print(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_what_runs_no_model_loads_none() -> None:
    """All scripts but the heavy ones, imported together."""
    names = [name for name in SCRIPTS if name not in HEAVY]
    assert len(names) > 30
    assert not loaded(f"import {', '.join(names)}") & MODELS


def test_figures_load_no_statistics() -> None:
    """They are drawn from tables; scipy.stats alone takes longer than all else that is loaded."""
    names = [name for name in SCRIPTS if name.startswith("plot_")]
    found = loaded(f"import {', '.join(names)}")
    assert "matplotlib" in found
    assert not found & {"scipy.stats", "scipy.optimize", "sklearn", "statsmodels", "numba"}


def test_light_commands_load_no_tables_either() -> None:
    """All of them, imported together."""
    assert not loaded(f"import {', '.join(LIGHT)}") & (MODELS | TABLES)


DRY_RUN = """
from snakemake.cli import main
sys.argv[1:] = ["--dry-run", "--quiet", "all", "--", "results/demo/headline.txt"]
try:
    main()
except SystemExit as end:
    assert not end.code
"""


def test_a_dry_run_loads_no_model() -> None:
    """Snakemake, the Snakefile and its rules; pandas is there for Snakemake's SLURM plugin."""
    found = loaded(f"exec({DRY_RUN!r})")
    assert "multical.config.schema" in found
    assert not found & (MODELS | {"scipy", "matplotlib", "numba"})
