"""Say whether multical can run here, before anything is submitted: `make doctor`.

Each line of the report is ok, a warning or an error, with the remedy after an arrow. The checks
cover Python and its libraries, this folder, and SLURM with the account, partitions and GPUs that
slurm/profile.yaml requests. With --study, they also cover the disk space, models and data of that
study. Nothing is changed or submitted.

Exit code: 0 all ok, 1 warnings, 2 errors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import _path  # noqa: F401  finds multical
from multical.cluster import checks, driver_job, inputs, profile, queries, site
from multical.cluster import slurm as preflight_slurm
from multical.cluster.checks import LEVELS, Finding, Findings, checked
from multical.config import files
from multical.config.schema import Config
from multical.config.studies import MultilingualStudy
from multical.errors import program

LOCK = Path("envs/requirements.lock")
Value = TypeVar("Value")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[files.options()],
    )
    parser.add_argument("--study", metavar="ROOT", help="as in the config: results/demo")
    args = parser.parse_args()
    worst = 0
    for finding in findings(args.study, sys.argv[1:]):
        print(finding, flush=True)
        worst = max(worst, LEVELS.index(finding.level))
    sys.exit(worst)


def findings(root: str | None, command: Sequence[str] = ()) -> Findings:
    """All findings, in the order of the report. The command line may add to the config."""
    yield from checked("libraries", checks.versions, LOCK)
    yield from checked("plugin", checks.plugins)
    yield from checked("folder", checks.folder)
    yield from checked("file system", checks.file_system)
    values, faults = loaded("site", site.load)
    yield from faults
    config, faults = loaded("config", lambda: files.load(command)) if root else (None, [])
    if values:
        yield from slurm(values, runs(config, root))
    yield from faults
    if root and config:
        yield from study(config, root)


def runs(config: Config | None, root: str | None) -> list[tuple[str, str]]:
    """The runs of a study that jobs train and score; empty if the study is unknown."""
    study = config.studies.get(str(root)) if config else None
    return [(str(root), run) for run in study.by_id] if isinstance(study, MultilingualStudy) else []


def slurm(values: site.Site, jobs: list[tuple[str, str]]) -> Findings:
    """The checks of the cluster, with the site's `values`, for jobs of the runs in `jobs`."""
    answers = list(checked("slurm", preflight_slurm.reachable))
    yield from answers
    if any(answer.level != "ok" for answer in answers):
        return
    yield from checked("torch", checks.cuda, values)
    requests, faults = loaded("profile", profile.load)
    yield from faults
    settings, faults = loaded("slurm", queries.settings)
    yield from faults
    if settings is None or requests is None:
        return
    yield from checked("squeue", preflight_slurm.polling, settings, requests, values)
    yield from checked("account", preflight_slurm.account, settings, values)
    yield from checked("qos", preflight_slurm.qos, settings, values)
    yield from checked("gpus", preflight_slurm.gpus, settings, values)
    yield from checked("partitions", preflight_slurm.partitions, settings, requests, values, jobs)
    yield from checked("cpu_partitions", driver_job.check_partitions, settings, requests, values)


def study(config: Config, root: str) -> Findings:
    """The checks of what a study needs."""
    if root not in config.studies:
        message = f"{root} is not in the config"
        yield Finding("error", "study", message, f"name one of {', '.join(config.studies)}")
        return
    yield from checked("disk", checks.disk, config, root)
    yield from checked("inputs", inputs.inputs, config, root)


def loaded(what: str, load: Callable[[], Value]) -> tuple[Value | None, list[Finding]]:
    """A value that several checks need, or the finding that it cannot be loaded."""
    values: list[Value] = []

    def check() -> Findings:
        values.append(load())
        yield from ()

    faults = list(checked(what, check))
    return (values[0] if values else None), faults


if __name__ == "__main__":
    program(main)
