"""Item 4: how long a command takes before it has done anything.

`snakemake -n` of the demo and of paper 1 at full size, all figures of paper 1 drawn again from
their tables, and light commands: each a process of its own, as a user starts it, by turns with
`python -c "import torch"`, which is what each of them would wait for if it loaded the models'
libraries. Limits: 1.5 s and 6 s for the dry runs, 2 s for a figure. Times are wall times, those
that a user waits, so nothing else should run meanwhile. The tables are those of the tests, with
the demo's 41 languages. The first run of each is not counted. ratio: theirs / ours, so that more
than 1 is better.

--small is one figure and one run of each, and records nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from recording import alternating, record, row

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from multical.params import Strict, option  # noqa: E402
from support import figure_data  # noqa: E402

YARDSTICK = "python -c 'import torch'"
#: Seconds of a dry run, by its target, and of a figure, at most
DRY_RUNS = {"results/demo/headline.txt": 1.5, "results/headline.txt": 6.0}
FIGURE = 2.0
#: Figures of paper 1, and the tables of each
FIGURES = {
    "plot_ece_by_lang": ["metrics"],
    "plot_entropy_by_lang": ["metrics"],
    "plot_confidence_vs_accuracy_shift": ["metrics"],
    "plot_gap_vs_accuracy": ["metrics"],
    "plot_ece_vs_fertility": ["metrics", "fertility"],
    "plot_reliability": ["reliability"],
    "plot_reliability_by_lang": ["reliability_by_lang"],
    "plot_smoothing_sweep": ["summary"],
    "plot_ece_by_resource": ["summary"],
    "plot_conditions_by_resource": ["summary"],
    "plot_culture": ["culture"],
    "plot_effects_by_lang": ["effects"],
    "plot_effects_by_resource": ["effects_over_languages"],
    "plot_recalibration_transfer": ["recalibration"],
    "plot_temperatures_by_lang": ["temperatures"],
}
HELPS = ["show_plan", "doctor", "choose_learning_rate", "adopt_trial", "merge_records"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--times", type=int, default=5, help="alternating runs")
    arguments = parser.parse_args()
    small = arguments.small
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    with tempfile.TemporaryDirectory() as folder:
        tables = figure_data.write_tables(Path(folder))
        commands = {YARDSTICK: [sys.executable, "-c", "import torch"]}
        for target in list(DRY_RUNS)[: 1 if small else None]:
            commands[f"snakemake -n {target}"] = [snakemake, "--dry-run", target]
        for name in list(FIGURES)[: 1 if small else None]:
            commands[f"{name}.py"] = replot(name, tables, Path(folder))
        for name in HELPS:
            commands[f"{name}.py --help"] = [
                sys.executable,
                str(next(ROOT.glob(f"*/{name}.py"))),
                "--help",
            ]
        runs = [partial(seconds, command) for command in commands.values()]
        alternating(runs, 1)  # byte code, fonts
        medians = dict(
            zip(commands, alternating(runs, 1 if small else arguments.times), strict=True)
        )
    rows = []
    for name, ours in medians.items():
        limit = FIGURE if name.startswith("plot_") else DRY_RUNS.get(name.split()[-1])
        if limit is not None:
            rows.append(row("limit", name, ours, limit, "s"))
        elif name != YARDSTICK:
            rows.append(row(YARDSTICK, name, ours, medians[YARDSTICK], "s"))
    record("startup", rows, small)


def replot(name: str, tables: dict[str, Path], out: Path) -> list[str]:
    """The command that draws a figure from its tables."""
    own = vars(import_module(name)).values()
    schema: Any = next(one for one in own if isinstance(one, type) and issubclass(one, Strict))
    params = {key: figure_data.PARAMS[key] for key in schema.model_fields}
    files = {"--pdf": "pdf", "--png": "png", "--sidecar": "json"}
    outputs = [text for key, end in files.items() for text in (key, str(out / f"{name}.{end}"))]
    given = [text for kind in FIGURES[name] for text in (option(kind), str(tables[kind]))]
    given += ["--params", json.dumps(params), "--code", "0"]
    return [sys.executable, f"scripts/{name}.py", *given, *outputs]


def seconds(command: list[str]) -> float:
    """What a user waits for a command."""
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
