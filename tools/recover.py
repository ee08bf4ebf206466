"""Go on after a Snakemake that was killed while its cluster jobs ran.

Such jobs run on, nobody's, and a new Snakemake would start them a second time, into the
same files. So, in the folder where Snakemake was started, this

1. refuses while a Snakemake still works here;
2. finds the jobs that were submitted from this folder, cancels those that wait in the
   queue, and waits for those that run (--cancel: cancels these too);
3. unlocks the folder;
4. has Snakemake accept what those jobs finished, unless the settings or the code behind it
   have changed since: then it is removed, to be made again; what they left half-written
   Snakemake makes again by itself, and a training resumes from its last checkpoint;
5. starts the command again that was killed.
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

#: Of slurm/profile.yaml; jobs are named after it and a number of the run.
PREFIX = "multical_"
POLL_S = 5
SNAKEMAKE = [sys.executable, "-m", "snakemake"]


def main() -> None:
    """See to the jobs left behind, then run the killed commands again."""
    args = arguments()
    if not Path("Snakefile").is_file():
        raise InputError(f"{Path.cwd()}: no Snakefile here, expected multical's own folder")
    dead = killed(drivers.load_all(), args.dead)
    end_jobs(needs_slurm=any("slurm" in " ".join(one.command) for one in dead), cancel=args.cancel)
    commands = [one.command for one in dead]
    for command in commands or [[*SNAKEMAKE, "--cores", "1"]]:
        snakemake(command, "--unlock")
    for one in dead:
        adopt(one)
    for one in dead:
        one.forget()
    if not commands:
        say("no Snakemake was killed here: the folder is unlocked, there is nothing to go on with")
    if args.stop:
        return
    codes = []
    for command in commands:
        say("going on: snakemake " + " ".join(command[3:]))
        codes.append(subprocess.run(command, check=False).returncode)
    sys.exit(max(codes, default=0))


def killed(found: list[Driver], lost_hosts: list[str]) -> list[Driver]:
    """All drivers on record; raises `InputError` if one is alive, or may be."""
    for driver in found:
        if driver.here and driver.alive:
            raise InputError(
                f"{driver} still works here: found it alive, expected none; stop it with "
                f"kill -INT {driver.pid}, which cancels its jobs, or let it end"
            )
        if not driver.here and driver.host not in lost_hosts:
            raise InputError(
                f"{driver} is on record: only {driver.host} can tell whether it lives; run "
                f"make recover there, or give --dead {driver.host} if that host is gone"
            )
    return found


def end_jobs(needs_slurm: bool, cancel: bool) -> None:
    """Return when no job of this folder is in the queue any more."""
    if shutil.which("squeue") is None:
        if needs_slurm:
            raise InputError("squeue: not found here, expected SLURM's commands: run this where "
                             "Snakemake was run")  # fmt: skip
        return
    told: dict[str, str] = {}
    while jobs := queue():
        if jobs != told:
            say("jobs left behind: " + ", ".join(f"{job} {state}" for job, state in jobs.items()))
            told = jobs
        # one that waits has made nothing; it may also be on its way back from a lost node
        ends = [job for job, state in jobs.items() if cancel or state == "PENDING"]
        if ends:
            subprocess.run(["scancel", *ends], check=False)
        time.sleep(POLL_S)


def queue() -> dict[str, str]:
    """State by id of this user's jobs that were submitted from this folder."""
    command = ["squeue", "--me", "--noheader", "--format", "%i|%T|%j|%Z"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"squeue: {done.stderr.strip()}: cannot tell what still runs; try later")
    rows = [line.split("|", 3) for line in done.stdout.splitlines()]
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
            remove(Path(file))
    if accepted:
        say("finished meanwhile, accepted: " + ", ".join(accepted))
        snakemake([*SNAKEMAKE, "--cores", "1", "--touch", "--force", "--", *accepted])


def unrecorded(command: list[str]) -> list[str]:
    """Files of the command's targets that are whole and current, but by whom is not known.

    Snakemake would keep them whatever changes: it writes a job's provenance itself, when it
    learns that the job has ended. Each of our rules has a log, which is a part of it.
    """
    rows = csv.DictReader(snakemake(command, "--summary").splitlines(), delimiter="\t")
    return [
        row["output_file"]
        for row in rows
        if (row["log-file(s)"], row["status"], row["plan"]) == ("-", "ok", "no update")
    ]


def snakemake(command: list[str], *more: str) -> str:
    """Run Snakemake for what it says; raises `InputError` if it fails."""
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise InputError(f"snakemake {' '.join([*command[3:], *more])}: failed: {' '.join(said)}")
    return done.stdout


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def say(text: str) -> None:
    """Tell the user, at once."""
    print(f"recover: {text}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cancel", action="store_true", help="cancel running jobs too")
    parser.add_argument("--stop", action="store_true", help="do not start Snakemake again")
    parser.add_argument(
        "--dead", metavar="HOST", action="append", default=[], help="a host that is no more"
    )
    return parser.parse_args()


if __name__ == "__main__":
    program(main)
