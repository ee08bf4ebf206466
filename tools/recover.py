"""Go on after a Snakemake that was killed while its jobs ran.

These jobs go on, and a new Snakemake would start them a second time, with the same output files.
So, in the folder where Snakemake was started, this program

1. refuses to go on while a Snakemake still runs here;
2. finds the cluster jobs that were submitted from this folder, cancels pending jobs, and waits
   for running jobs, and for programs that run without a cluster (with --cancel, it ends all of
   these);
3. unlocks the folder;
4. has Snakemake accept the files that those jobs finished, but removes files whose settings or
   code have changed since (Snakemake makes these and half-written files again, and a training
   resumes from its last checkpoint);
5. starts the killed command again.

If the killed Snakemake was a job of the cluster (`make submit`), such a job does all this.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import _path  # noqa: F401  finds multical
from multical.cluster import driver_job, recovery
from multical.cluster.recovery import SNAKEMAKE, say, snakemake
from multical.errors import InputError, program
from multical.workflow import drivers
from multical.workflow.drivers import Driver


def main() -> None:
    """End the jobs left behind, then run the killed commands again."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cancel", action="store_true", help="cancel running jobs too")
    parser.add_argument("--stop", action="store_true", help="do not start Snakemake again")
    parser.add_argument(
        "--dead", metavar="HOST", action="append", default=[], help="a host that no longer exists"
    )
    args = parser.parse_args()
    # for `--logger study`, which the Makefile gives to Snakemake
    tools = [str(Path(__file__).resolve().parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(tools)
    if not Path("Snakefile").is_file():
        raise InputError(f"{Path.cwd()}: no Snakefile here, expected multical's own folder")
    if shutil.which("squeue"):
        driver_job.check_none()
    killed = drivers.load_all()
    recovery.check_killed(killed, args.dead)
    if args.cancel or args.stop or not all(driver.submitted for driver in killed) or not killed:
        recovery.settle(killed, args.cancel)
    if not killed:
        snakemake([*SNAKEMAKE, "--cores", "1"], "--unlock")
        say("no Snakemake was killed here: the folder is unlocked, there is nothing to go on with")
    sys.exit(0 if args.stop else max([0, *map(go_on, killed)]))


def go_on(driver: Driver) -> int:
    """Run a killed command again, as a job if it was one; its exit code."""
    if driver.submitted:
        command = [sys.executable, "tools/submit.py", *driver.submitted]
    else:
        start, rest = driver.command[:3], driver.command[3:]
        again = "--rerun-incomplete"  # without it, Snakemake refuses what was half made
        command = [*start, *([] if again in rest else [again]), *rest]
        say("going on: snakemake " + " ".join(command[3:]))
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    program(main)
