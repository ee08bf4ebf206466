"""Show where a figure, or any other file of a study, came from, back to every input.

Run it in the folder that holds the Snakefile; it makes nothing. It lists each job behind the file:
its settings, seeds, fingerprint of the code, libraries, hardware, seconds, and the SHA-256 of the
files that it read and made. Then it lists what differs from the records, which jobs would run
again, and what nobody recorded. The exit code is 1 if anything differs from the records. --json
and --crate write the same in forms that programs read.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _path  # noqa: F401  finds multical
from multical.dag import crate, lineage
from multical.dag.lineage import Lineage, Step
from multical.errors import program
from multical.files import write_json

WIDTH = 96
#: How many files of a source or job are named at most
NAMED = 8
#: Longest text of a step's settings, in characters
LONGEST = 600


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
    args = arguments()
    traced = lineage.trace(args.target)
    if args.json:
        write_json(args.json, traced.document())
    if args.crate:
        crate.write(traced, args.crate)
    print("\n".join(report(traced)))
    if any(step.breaks for step in traced.steps):
        sys.exit(1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", help="a file of a study")
    parser.add_argument("--json", type=Path, metavar="FILE", help="output: the lineage as JSON")
    parser.add_argument("--crate", type=Path, metavar="FOLDER", help="output: a new RO-Crate")
    return parser.parse_args()


def report(traced: Lineage) -> Iterator[str]:
    """All lines of the report."""
    last = traced.steps[-1]
    yield (target := traced.targets[0])
    yield f"  sha256   {last.outputs[target]}"
    yield f"  made     {moment(last.ended)} by {last.title}"
    yield f"  rebuild  {traced.rebuild}"
    yield "\nFrom"
    yield from sources(traced)
    yield "\nMade in these steps"
    for number, step in enumerate(traced.steps, start=1):
        yield f"  {number}. {step.title}"
        yield from (f"     {line}" for line in details(step))
    yield from listed("Not as it was recorded", traced, "breaks")
    yield from listed("Would be made again", traced, "stale")
    yield from listed("Not recorded", traced, "gaps")


def sources(traced: Lineage) -> Iterator[str]:
    """The models, data and files that no step makes."""
    for step in traced.steps:
        for source in step.sources:
            keys = ", ".join(f"{key} {text(value)}" for key, value in source["source"].items())
            yield from wrapped(f"  {step.title}: {keys}", "      ")
            yield from files(source["files"], "      ")
    if traced.original_files:
        yield "  files that no step makes"
        yield from files(traced.original_files, "      ")


def details(step: Step) -> Iterator[str]:
    """What is known of a step."""
    if step.settings is not None:
        settings = text(step.settings)
        if len(settings) > LONGEST:
            settings = f"{settings[:LONGEST]}... (--json has all)"
        yield from wrapped(f"settings   {settings}", " " * 11)
    if step.seeds:
        yield "seeds      " + ", ".join(f"{key} {value}" for key, value in step.seeds.items())
    if step.code:
        yield f"code       {step.code} (scripts/{step.program}.py and what it imports)"
    if step.libraries:
        names = ", ".join(f"{name} {version}" for name, version in step.libraries.items())
        where = " (of the lock then)" if step.pinned else ""
        python = f"Python {step.python}, " if step.python else ""
        yield from wrapped(f"libraries  {python}{names}{where}", " " * 11)
    for machine in step.machines:
        yield from wrapped(f"machine    {hardware(machine)}", " " * 11)
    if step.seconds is not None:
        yield f"took       {step.seconds:g} s, ended {moment(step.ended)}"
    for word, digests in (("read", step.inputs), ("made", step.outputs)):
        yield from files(digests, f"{word:<11}")


def hardware(machine: dict[str, Any]) -> str:
    """A machine on one line."""
    gpus = machine.get("gpus") or []
    parts = [f"{machine['cpus']} x {machine['cpu']}", f"{machine['memory_gib']} GiB", *gpus]
    return ", ".join([*parts, machine["system"]])


def files(digests: dict[str, Any], start: str) -> Iterator[str]:
    """A line for each of the first few files, with its SHA-256."""
    for name, entry in list(digests.items())[:NAMED]:
        digest = entry.get("sha256") if isinstance(entry, dict) else entry
        yield f"{start}{name}  {digest or ('(a folder)' if Path(name).is_dir() else '(gone)')}"
        start = " " * len(start)
    if len(digests) > NAMED:
        yield f"{start}and {len(digests) - NAMED} more: --json names them"


def listed(title: str, traced: Lineage, attribute: str) -> Iterator[str]:
    """The lines of one attribute of all steps; each line names all steps that have it."""
    steps: dict[str, list[str]] = {}
    for step in traced.steps:
        for line in getattr(step, attribute):
            steps.setdefault(line, []).append(step.title)
    if steps:
        yield f"\n{title}"
    for line, titles in steps.items():
        yield from wrapped(f"  {line}: {', '.join(titles)}", "      ")


def wrapped(line: str, indent: str) -> list[str]:
    """A text in lines of at most `WIDTH`; hashes and paths stay whole."""
    return textwrap.wrap(
        line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def text(value: Any) -> str:
    """A value of a setting on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def moment(seconds: float | None) -> str:
    """A time in UTC."""
    if seconds is None:
        return "at a time that is not recorded"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


if __name__ == "__main__":
    program(main)
