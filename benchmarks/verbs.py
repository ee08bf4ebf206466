"""Item 5: what a newcomer waits for: `make env`, the demo, the smoke study, and the tests.

Each verb runs in a fresh clone of the last commit, which lies beside this checkout, so that tests
find what they find here. Downloads of models come before, and are not timed. Limits are for two
idle cores; nothing else should run meanwhile. Memory is the most that all processes held at once.
Of the demo and the smoke study, the jobs of a rule are added up, two of which may run at once.

    python benchmarks/verbs.py demo smoke test test-all    # by default all: two hours

--small is the smoke study alone, and records nothing.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

from recording import measured, record, row

ROOT = Path(__file__).resolve().parent.parent
#: Seconds of each verb, and GB of the demo, at most
SECONDS = {"demo": 900, "smoke": 150, "test": 600, "test-all": 2400}
GIGABYTES = {"demo": 6}
#: Rules of a study that have rows of their own
STAGES = ("train_sft", "score_run")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verbs", nargs="*", help=f"of {', '.join(SECONDS)}")
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.verbs) - set(SECONDS)):
        parser.error(f"{unknown}: expected of {list(SECONDS)}")
    verbs = ["smoke"] if arguments.small else arguments.verbs or list(SECONDS)
    with tempfile.TemporaryDirectory(dir=ROOT.parent) as folder:
        clone = Path(folder) / "multical"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        shared = ROOT.parent / "shared"
        if shared.exists():
            (Path(folder) / "shared").symlink_to(shared)
        rows = timed(clone, "env")
        if not arguments.small:
            record("make env", rows)
        for verb in verbs:
            fetch(clone, "demo" if verb == "demo" else "smoke")
            shutil.rmtree(clone / "results/smoke", ignore_errors=True)
            rows = [*timed(clone, verb), *stages(clone / f"logs/results/{verb}")]
            record(f"make {verb}", rows, arguments.small)


def fetch(clone: Path, study: str) -> None:
    """Fetch the models of a study."""
    command = [str(clone / ".venv/bin/snakemake"), "--cores", "1", "--quiet", "all"]
    command += ["--until", "fetch_model", "--", f"results/{study}/headline.txt"]
    path = {"PATH": f"{clone / '.venv/bin'}:/usr/bin:/bin"}
    subprocess.run(command, cwd=clone, check=True, env=path)


def timed(clone: Path, verb: str) -> list[dict[str, str]]:
    """What `make VERB` takes. To look at all memory takes a tenth of a second and more."""
    usage = measured(["make", "--directory", clone, verb], every=10)
    found = {"s": usage.wall, "CPU s": usage.cpu, "GB": usage.gigabytes}
    limits: dict[str, float] = {}
    if verb in SECONDS:
        limits["s"] = SECONDS[verb]
    if verb in GIGABYTES:
        limits["GB"] = GIGABYTES[verb]
    return [
        plain("whole", ours, unit)
        if unit not in limits
        else row("limit", "whole", ours, limits[unit], unit)
        for unit, ours in found.items()
    ]


def stages(logs: Path) -> list[dict[str, str]]:
    """Seconds and CPU seconds of a study's rules, as Snakemake recorded them for each job."""
    jobs: dict[str, list[dict[str, str]]] = defaultdict(list)
    for file in sorted(logs.rglob("*.tsv")):
        stage = next((name for name in STAGES if name in file.parts), "all other jobs")
        with open(file, encoding="utf-8", newline="") as stream:
            jobs[stage] += csv.DictReader(stream, delimiter="\t")
    return [
        plain(f"{stage}: {len(of_stage)}", sum(float(job[column]) for job in of_stage), unit)
        for stage, of_stage in jobs.items()
        for column, unit in (("s", "s"), ("cpu_time", "CPU s"))
    ]


def plain(setting: str, ours: float, unit: str) -> dict[str, str]:
    """A number without a peer or a limit."""
    return {"peer": "", "setting": setting, "ours": f"{ours:.4g}", "unit": unit}


if __name__ == "__main__":
    main()
