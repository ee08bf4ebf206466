"""Show why jobs would run for a target: the edits that cause it, and what follows from each.

Run it in the folder that holds the Snakefile. It writes nothing and takes no lock. Each edit
is a key of the config with its old and new value, a part of the code, a version in the lock,
a file that is read, or an output that is not there; under it are the jobs that it makes run,
and how many more run since those do. What the config and the code were when a job ran is
what Snakemake's runs kept of it (.snakemake/states); for code, git is asked too.
"""

from __future__ import annotations

import argparse
import signal
import sys
import textwrap
from collections.abc import Iterator

import _path  # noqa: F401  finds multical
from multical.config import files
from multical.dag import dryrun
from multical.dag.dryrun import Job
from multical.errors import program

WIDTH = 96
#: Runs are named where a rule has at most so many jobs
NAMED = 4
#: At most so many rules are named that follow
SHOWN = 4


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
    args = arguments()
    planned = dryrun.run(args.target, None, sys.argv[1:])
    print("\n".join(report(args.target or "the default target", planned.jobs)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[files.options()],
    )
    parser.add_argument(
        "target", nargs="?", help="a file of a study, or a rule (default: what snakemake makes)"
    )
    return parser.parse_args()


def report(target: str, jobs: list[Job]) -> Iterator[str]:
    """All lines."""
    if not jobs:
        yield f"{target}: nothing to do"
        return
    found = causes(jobs)
    reasons = list(dict.fromkeys(reason for job in jobs for reason in job.own_reasons))
    yield f"{target}: {counted(len(jobs), 'job')} to run, for {counted(len(reasons), 'reason')}"
    for reason in reasons:
        yield ""
        yield from wrapped(reason, "  ", "    ")
        direct = [job for job in jobs if reason in job.own_reasons]
        later = [
            job
            for job, known in zip(jobs, found, strict=True)
            if reason in known and reason not in job.own_reasons
        ]
        yield from wrapped(listed(direct), "      ", "        ")
        if later:
            yield from wrapped(f"then {listed(later, SHOWN)}", "      ", "        ")


def causes(jobs: list[Job]) -> list[set[str]]:
    """The reasons of each job, and of those that it runs after."""
    found: list[set[str]] = []
    for job in jobs:
        found.append(set(job.own_reasons).union(*(found[place] for place in job.after)))
    return found


def listed(jobs: list[Job], shown: int | None = None) -> str:
    """Jobs by rule, with their runs where those are few; of at most so many rules."""
    rules: dict[str, list[Job]] = {}
    for job in jobs:
        rules.setdefault(job.rule, []).append(job)
    told = []
    for rule, members in list(rules.items())[:shown]:
        runs = [job.wildcards["run"] for job in members if "run" in job.wildcards]
        names = f" ({', '.join(runs)})" if 0 < len(runs) <= NAMED else ""
        told.append(f"{rule if len(members) == 1 else f'{len(members)} {rule}'}{names}")
    others = len(jobs) - sum(map(len, list(rules.values())[:shown]))
    return ", ".join(told) + (f" and {counted(others, 'other job')}" if others else "")


def counted(number: int, what: str) -> str:
    """A number of things, in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def wrapped(text: str, start: str, indent: str) -> list[str]:
    """A text in lines of at most `WIDTH`; names and paths stay whole."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


if __name__ == "__main__":
    program(main)
