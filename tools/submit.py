"""Run Snakemake as a job of the cluster: `make submit TARGET=results/demo/headline.txt`.

The job needs little: what runs a model becomes further jobs, as with `snakemake --profile slurm`.
It goes on by itself after its time limit, a preemption, or the loss of its node, until the targets
are made. A folder has one such job at a time. Options that this program does not know go to
Snakemake; write them as --NAME=VALUE.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import _path  # noqa: F401  finds multical
from multical import paths
from multical.cluster import driver_job, profile, queries, site
from multical.cluster.driver_job import Local
from multical.cluster.recovery import SNAKEMAKE
from multical.config import files
from multical.dag import downloads, dryrun
from multical.dag.dryrun import Job, counted
from multical.errors import InputError, program
from multical.workflow import drivers

DRIVE = "--drive"


def main() -> None:
    """Submit the job, or be it."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[files.options()],
        allow_abbrev=False,
    )
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="files of a study, or rules")
    parser.add_argument(
        "--time",
        type=limit,
        metavar="T",
        help="minutes, HH:MM:SS or D-HH, until the job requeues itself (default: what the "
        "partition allows, a week at most)",
    )
    parser.add_argument(
        "--mem", type=int, metavar="MB", help="memory (default: what the jobs beside it request)"
    )
    parser.add_argument(DRIVE, action="store_true", help=argparse.SUPPRESS)
    args, more = parser.parse_known_args()
    if not Path("Snakefile").is_file():
        raise InputError(f"{Path.cwd()}: no Snakefile here, expected multical's own folder")
    if args.drive:
        config = files.repeated(sys.argv)
        command = [*SNAKEMAKE, "--profile", "slurm", *more, *config, "--", *args.targets]
        sys.exit(driver_job.drive(command, [word for word in sys.argv[1:] if word != DRIVE]))
    submit(args)


def submit(args: argparse.Namespace) -> None:
    """Submit the job, unless nothing is to be done."""
    driver_job.check_folder()
    here = site.load()
    plan = dryrun.run(args.targets, "slurm", sys.argv[1:])
    if not (plan.jobs or drivers.load_all()):  # a driver that was killed may have left work
        print(f"{' '.join(args.targets)}: nothing to be done")
        return
    beside = [job for job in plan.jobs if job.local]
    asked = driver_job.request(
        [Local(job.rule, (job.limit or 0) / 60, job.mem_mb, job.threads) for job in beside],
        int(profile.load().get("local-cores", 1)),
        driver_job.time_limit(here),
        args.time,
        args.mem,
    )
    name = driver_job.name(args.targets[0], files.load(sys.argv[1:]).studies)
    job = driver_job.submit(name, " ".join(args.targets), asked, here, sys.argv[1:])
    print(
        f"job {job} ({name}) drives {counted(len(plan.jobs) - len(beside), 'job')} of the cluster, "
        f"and runs {counted(len(beside), 'job')} beside Snakemake; it has {asked.mem_mb} MB, "
        f"{counted(asked.cpus, 'CPU')}, and {asked.minutes} minutes before it requeues itself"
    )
    if note := network(beside):
        print(note)
    print(
        f"  tail -f {paths.DRIVER_LOG.format(job=job)}",
        '  squeue --me --format "%.10i %.9T %.12M %.28j %k"',
        "  make stop",
        sep="\n",
    )


def network(beside: list[Job]) -> str:
    """What to do where the driver's node has no network but jobs beside it need one."""
    rules = sorted({job.rule for job in beside if job.rule in downloads.RULES})
    if not rules:
        return ""
    return (
        f"  {', '.join(rules)} may need a network: where compute nodes have none, run make "
        "fetch on the login node first (docs/slurm.md)"
    )


def limit(text: str) -> float:
    """Minutes of a time limit, for argparse."""
    minutes = queries.number(text)
    if not 1 <= minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"found {text}, expected minutes, HH:MM:SS or D-HH")
    return minutes


if __name__ == "__main__":
    program(main)
