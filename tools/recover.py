"""Go on after a Snakemake that was killed while its cluster jobs ran.

These jobs go on, and a new Snakemake would start them a second time, with the same output files.
So, in the folder where Snakemake was started, this program

1. refuses to go on while a Snakemake still runs here;
2. finds the jobs that were submitted from this folder, cancels pending jobs, and waits for
   running jobs (with --cancel, it cancels these too);
3. unlocks the folder;
4. has Snakemake accept the files that those jobs finished, but removes files whose settings or
   code have changed since (Snakemake makes these and half-written files again, and a training
   resumes from its last checkpoint);
5. starts the killed command again.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import time
from pathlib import Path

import _path  # noqa: F401  finds multical
from multical.config import files
from multical.errors import InputError, program
from multical.workflow import drivers
from multical.workflow.drivers import Driver

#: As in slurm/profile.yaml; the names of jobs begin with it.
PREFIX = "multical_"
POLL_S = 5
SNAKEMAKE = [sys.executable, "-m", "snakemake"]


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
    if not Path("Snakefile").is_file():
        raise InputError(f"{Path.cwd()}: no Snakefile here, expected multical's own folder")
    killed = drivers.load_all()
    check_killed(killed, args.dead)
    end_jobs(any("slurm" in " ".join(driver.command) for driver in killed), cancel=args.cancel)
    for driver in killed:
        snakemake(driver.command, "--unlock")
    if not killed:
        snakemake([*SNAKEMAKE, "--cores", "1"], "--unlock")
        say("no Snakemake was killed here: the folder is unlocked, there is nothing to go on with")
    for driver in killed:
        adopt(driver)
    for driver in killed:
        driver.forget()
    codes = [0]
    for driver in [] if args.stop else killed:
        say("going on: snakemake " + " ".join(driver.command[3:]))
        codes.append(subprocess.run(driver.command, check=False).returncode)
    sys.exit(max(codes))


def check_killed(on_record: list[Driver], lost_hosts: list[str]) -> None:
    """Raise `InputError` if a driver on record is alive, or may be."""
    for driver in on_record:
        if driver.here and driver.alive:
            raise InputError(
                f"{driver} still runs here: found it alive, expected none; stop it with "
                f"kill -INT {driver.pid}, which cancels its jobs, or let it end"
            )
        if not driver.here and driver.host not in lost_hosts:
            raise InputError(
                f"{driver} is on record: only {driver.host} can tell whether it runs; run "
                f"make recover there, or give --dead {driver.host} if that host is gone"
            )


def end_jobs(needs_slurm: bool, cancel: bool) -> None:
    """Wait until no job of this folder is in the queue any more."""
    if shutil.which("squeue") is None:
        if needs_slurm:
            raise InputError("squeue: not found here, expected SLURM's commands: run this where "
                             "Snakemake was run")  # fmt: skip
        return
    last: dict[str, str] = {}
    while jobs := queue():
        if jobs != last:
            say("jobs left behind: " + ", ".join(f"{job} {state}" for job, state in jobs.items()))
            last = jobs
        # a pending job has made nothing; it may also be on its way back from a lost node
        ends = [job for job, state in jobs.items() if cancel or state == "PENDING"]
        if ends:
            subprocess.run(["scancel", *ends], check=False)
        time.sleep(POLL_S)


def queue() -> dict[str, str]:
    """The states, by job id, of this user's jobs that were submitted from this folder."""
    command = ["squeue", "--me", "--noheader", "--format", "%i|%T|%j|%Z"]
    squeue = subprocess.run(command, capture_output=True, text=True, check=False)
    if squeue.returncode:
        raise InputError(f"squeue: {squeue.stderr.strip()}: cannot tell what still runs; try later")
    rows = [line.split("|", 3) for line in squeue.stdout.splitlines()]
    here = Path.cwd().resolve()
    return {
        job: state
        for job, state, name, folder in rows
        if name.startswith(PREFIX) and Path(folder).resolve() == here
    }


def adopt(driver: Driver) -> None:
    """Record the provenance of files whose jobs outlived their Snakemake, or remove them."""
    now = drivers.products(files.load(driver.command))
    accepted = []
    for file in unrecorded(driver.command):
        if driver.products.get(file, "") == now.get(file):
            accepted.append(file)
        else:
            say(f"{file}: made with settings or code that have changed; removed")
            if Path(file).is_dir():
                shutil.rmtree(file)
            else:
                Path(file).unlink()
    if accepted:
        say("finished meanwhile, accepted: " + ", ".join(accepted))
        snakemake([*SNAKEMAKE, "--cores", "1", "--touch", "--force", "--", *accepted])


def unrecorded(command: list[str]) -> list[str]:
    """Files that the command would make, and that are complete and current but have no provenance.

    Snakemake writes a job's provenance when it learns that the job has ended. It would never make a
    file without provenance again, whatever changes. The log, which each of our rules has, is part
    of the provenance.
    """
    rows = csv.DictReader(snakemake(command, "--summary").splitlines(), delimiter="\t")
    return [
        row["output_file"]
        for row in rows
        if (row["log-file(s)"], row["status"], row["plan"]) == ("-", "ok", "no update")
    ]


def snakemake(command: list[str], *more: str) -> str:
    """The output of Snakemake; raises `InputError` if it fails."""
    process = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    if process.returncode:
        reason = "".join((process.stderr.strip() or process.stdout.strip()).splitlines()[-1:])
        raise InputError(f"snakemake {' '.join([*command[3:], *more])}: failed: {reason}")
    return process.stdout


def say(text: str) -> None:
    """Print a message at once."""
    print(f"recover: {text}", flush=True)


if __name__ == "__main__":
    program(main)
