"""Show where a figure, or any other file of a study, came from, back to every input.

Run it in the folder that holds the Snakefile; it makes nothing. It lists each job that
the file was made by: settings, seeds, fingerprint of the code, libraries, hardware, seconds,
and the content (SHA-256) of what it read and made; then what is not as it was recorded, what
would be made again, and what nobody recorded. It exits with 1 if anything is not as it was
recorded. --json and --crate write the same for programs.
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
from multical.dag import lineage
from multical.dag.lineage import Lineage, Step
from multical.errors import program
from multical.files import write_json

WIDTH = 96
#: At most so many files of a source or job are named
NAMED = 8
#: Longest text of a step's settings
LONGEST = 600


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a traceback
    args = arguments()
    found = lineage.trace(args.target)
    if args.json:
        write_json(args.json, found.document())
    if args.crate:
        from multical.dag import crate  # which needs a library of its own

        crate.write(found, args.crate)
    print("\n".join(report(found)))
    if any(step.breaks for step in found.steps):
        sys.exit(1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", help="a file of a study")
    parser.add_argument("--json", type=Path, metavar="FILE", help="output: all of it as JSON")
    parser.add_argument("--crate", type=Path, metavar="FOLDER", help="output: a new RO-Crate")
    return parser.parse_args()


def report(found: Lineage) -> Iterator[str]:
    """All lines."""
    made = found.steps[-1]
    yield (target := found.targets[0])
    yield f"  sha256   {made.outputs[target]}"
    yield f"  made     {moment(made.ended)} by {made.title}"
    yield f"  rebuild  {found.rebuild}"
    yield "\nFrom"
    yield from sources(found)
    yield "\nMade in these steps"
    for number, step in enumerate(found.steps, start=1):
        yield f"  {number}. {step.title}"
        yield from (f"     {line}" for line in details(step))
    yield from listed("Not as it was recorded", found, "breaks")
    yield from listed("Would be made again", found, "stale")
    yield from listed("Not recorded", found, "gaps")


def sources(found: Lineage) -> Iterator[str]:
    """Models, data and files that nothing here made."""
    for step in found.steps:
        for source in step.sources:
            told = ", ".join(f"{key} {text(value)}" for key, value in source["source"].items())
            yield from wrapped(f"  {step.title}: {told}", "      ")
            yield from files(source["files"], "      ")
    if found.given:
        yield "  files that no step makes"
        yield from files(found.given, "      ")


def details(step: Step) -> Iterator[str]:
    """What is known of a step."""
    if step.settings is not None:
        told = text(step.settings)
        told = told if len(told) <= LONGEST else f"{told[:LONGEST]}... (--json has all)"
        yield from wrapped(f"settings   {told}", " " * 11)
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
    for word, found in (("read", step.inputs), ("made", step.outputs)):
        yield from files(found, f"{word:<11}")


def hardware(machine: dict[str, Any]) -> str:
    """A machine on one line."""
    gpus = machine.get("gpus") or []
    parts = [f"{machine['cpus']} x {machine['cpu']}", f"{machine['memory_gib']} GiB", *gpus]
    return ", ".join([*parts, machine["system"]])


def files(found: dict[str, Any], start: str) -> Iterator[str]:
    """A line per file with its SHA-256, the first few."""
    for name, about in list(found.items())[:NAMED]:
        digest = about.get("sha256") if isinstance(about, dict) else about
        yield f"{start}{name}  {digest or ('(a folder)' if Path(name).is_dir() else '(gone)')}"
        start = " " * len(start)
    if len(found) > NAMED:
        yield f"{start}and {len(found) - NAMED} more: --json names them"


def listed(title: str, found: Lineage, attribute: str) -> Iterator[str]:
    """What there is to say of the steps, those of which the same holds together."""
    said: dict[str, list[str]] = {}
    for step in found.steps:
        for line in getattr(step, attribute):
            said.setdefault(line, []).append(step.title)
    if said:
        yield f"\n{title}"
    for line, titles in said.items():
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
