"""Show why jobs would run for a target: each cause, and the jobs that run for it.

Run it in the folder that holds the Snakefile. It writes nothing and takes no lock. A cause is an
edited key of the config with its old and new value, an edited part of the code, a version in the
lock, an input that changed, or a missing output. Below it are the jobs that it makes run, and how
many more jobs run because those do. Runs of Snakemake recorded the old config and code in
.snakemake/snapshots.
"""

from __future__ import annotations

import argparse
import signal
import sys

import _path  # noqa: F401  finds multical
from multical.config import files
from multical.dag.dryrun import counted, explain, reasons, run
from multical.errors import program


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[files.options()],
    )
    parser.add_argument(
        "target", nargs="?", help="a file of a study, or a rule (default: what snakemake makes)"
    )
    target = parser.parse_args().target
    jobs = run(target, None, sys.argv[1:]).jobs
    name = target or "the default target"
    if not jobs:
        print(f"{name}: nothing to do")
        return
    print(
        f"{name}: {counted(len(jobs), 'job')} to run, for {counted(len(reasons(jobs)), 'reason')}"
    )
    print("", *explain(jobs), sep="\n")


if __name__ == "__main__":
    program(main)
