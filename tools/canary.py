"""Try multical with the newest release of each library: `make canary` says which one breaks what.

In the folder .canary it clones the last commit, and makes an environment from envs/requirements.in
without versions. There it runs the unit tests and the smoke study. What fails is tried again with
the locked libraries. If that works, one library after another gets its locked version back, those
first that the errors name: what works again was broken by that library. The environment of the
lock and the results here stay as they are. The exit code is 1 if anything is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import _path  # noqa: F401  finds multical
from multical.errors import InputError, program
from multical.provenance.fingerprint import LOCK, SCRIPTS, read_lock
from multical.provenance.libraries import DISTRIBUTIONS, REQUIREMENTS

REPO = SCRIPTS.parent
FOLDER = REPO / ".canary"
CLONE, PYTHON = FOLDER / "multical", FOLDER / "venv/bin/python"
CORES = str(os.cpu_count())
PIP = [sys.executable, "-m", "pip", "--python", str(PYTHON)]
SMOKE = "results/smoke/headline.txt"
#: It fails for each newer library that a patch is for, which the report says by itself
ENDS = "tests/unit/patches/test_ends.py"
#: How many lines of an error are shown
LINES = 2

#: The error of each test that fails, and of the smoke study, by name
Failures = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tests", nargs="*", default=["tests/unit", SMOKE], help="(default: %(default)s)"
    )
    asked = parser.parse_args().tests
    for name in asked:
        if name != SMOKE and not (REPO / name.partition("::")[0]).exists():
            raise InputError(f"{name}: no such tests, expected a path, or {SMOKE}")
    say("an environment of the newest releases")
    prepare()
    locked = read_lock(LOCK)
    newer = changed(locked, versions())
    say(f"{len(newer)} of {len(locked)} libraries differ from the lock: {listed(newer)}")
    failures = run(PYTHON, asked)
    say(f"{len(failures)} fail")
    alike = run(Path(sys.executable), failures) if failures else {}
    broken = {name: text for name, text in failures.items() if name not in alike}
    found = dict(blame(broken, newer)) if broken else {}
    print("\n".join(report(failures, alike, found, newer)))
    sys.exit(bool(failures))


def prepare() -> None:
    """Make the clone, whose lock has the newest versions, and the environment."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    call(["git", "clone", "--quiet", str(REPO), str(CLONE)])
    call([sys.executable, "-m", "venv", "--without-pip", str(PYTHON.parents[1])])
    text = REQUIREMENTS.read_text(encoding="utf-8")
    names = [line.partition("#")[0].partition("==")[0].strip() for line in text.splitlines()]
    install(filter(None, names))
    pins = "".join(f"{name}=={version}\n" for name, version in versions().items())
    (CLONE / "envs/requirements.lock").write_text(pins, encoding="utf-8")


def install(requirements: Iterable[str]) -> None:
    """Install libraries into the environment."""
    call([*PIP, "install", "--quiet", "--upgrade", *requirements])


def versions() -> dict[str, str]:
    """The version of each library of the environment, without its build."""
    listed = json.loads(call([*PIP, "list", "--format", "json"]))
    return {normal(one["name"]): one["version"].partition("+")[0] for one in listed}


def normal(name: str) -> str:
    """A library's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def changed(locked: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The locked and the new version of each library that has another."""
    return {
        name: (version, now[name])
        for name, version in locked.items()
        if now.get(name, version) != version
    }


def run(python: Path, asked: Iterable[str]) -> Failures:
    """What fails of some tests, or of the smoke study, in the clone."""
    tests = [name for name in asked if name != SMOKE]
    failures = run_tests(python, tests) if tests else {}
    return failures | (run_smoke(python) if SMOKE in asked else {})


def run_tests(python: Path, tests: Collection[str]) -> Failures:
    """The error of each test that fails."""
    found = FOLDER / "tests.xml"
    found.unlink(missing_ok=True)
    chosen = ["-m", "not smoke and not slow", f"--deselect={ENDS}", *tests]
    written = [f"--junit-xml={found}", "-o", "junit_family=xunit1"]
    done = start(python, "pytest", "--quiet", "--numprocesses", CORES, *written, *chosen)
    if not found.exists():
        return {"pytest": done.stdout}
    return dict(failed(ElementTree.parse(found).getroot()))


def failed(suites: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """The name, as pytest takes it, and the error of each test that failed or was not collected."""
    for case in suites.iter("testcase"):
        for kind in ("failure", "error"):
            if (error := case.find(kind)) is not None:
                file = case.get("file") or f"{(case.get('name') or '').replace('.', '/')}.py"
                test = f"{file}::{case.get('name')}" if case.get("file") else file
                yield test, f"{error.get('message') or ''}\n{error.text or ''}"


def run_smoke(python: Path) -> Failures:
    """The errors of the smoke study; jobs that have ended well do not run again."""
    done = start(python, "snakemake", "--cores", CORES, "--keep-going", "--", SMOKE)
    return {SMOKE: done.stdout} if done.returncode else {}


def start(python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a module of an environment in the clone; all that it prints is its output."""
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    return subprocess.run(
        [python, "-m", *words], cwd=CLONE, env=os.environ | {"PATH": path}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip


def blame(broken: Failures, newer: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Each failure with the library whose locked version ends it."""
    left = broken
    for name in suspects(broken, newer):
        say(f"{name} {newer[name][0]} again")
        install([f"{name}=={newer[name][0]}"])
        after = run(PYTHON, left)
        yield from ((failure, name) for failure in left if failure not in after)
        left = after
        if not left:
            return


def suspects(broken: Failures, newer: Collection[str]) -> list[str]:
    """The libraries to put back: those that errors name, the most named first, then the rest."""
    named: Counter[str] = Counter()
    for text in broken.values():
        words = re.findall(r"[\w.-]+", text.replace("/", " "))
        named.update({normal(DISTRIBUTIONS.get(word, word)) for word in words} & set(newer))
    asked = {
        normal(re.split(r"[=\[\s#]", line)[0]) for line in REQUIREMENTS.read_text().splitlines()
    }
    first = [name for name, _ in named.most_common()]
    return [*first, *(name for name in newer if name in asked and name not in first)]


def report(
    failures: Failures,
    alike: Collection[str],
    found: Mapping[str, str],
    newer: Mapping[str, tuple[str, str]],
) -> Iterator[str]:
    """Which library broke what, in lines; last the patches of libraries that are newer."""
    groups: dict[str, list[str]] = {}
    for failure in failures:
        if failure in alike:
            title = "fails with the lock, too"
        elif library := found.get(failure):
            title = f"{library} {' -> '.join(newer[library])} breaks"
        else:
            title = "broken by no one library"
        groups.setdefault(title, []).append(failure)
    for title, members in groups.items():
        yield f"\n{title}"
        for failure in members:
            yield f"  {failure}"
            lines = [line for line in failures[failure].splitlines() if line.strip()]
            shown = lines[-LINES:] if failure == SMOKE else lines[:LINES]
            yield from (f"      {line.strip()[:160]}" for line in shown)
    for patch, library, condition in ends():
        if library in newer:
            yield f"\nlook at {patch}, which is for {library} until: {condition}"
    if not failures:
        yield "\nall works with the newest releases"


def ends() -> Iterator[tuple[str, str, str]]:
    """Each patch with the library that it is for, and with what ends it."""
    for module in sorted((SCRIPTS / "multical/patches").glob("*.py")):
        text = module.read_text(encoding="utf-8")
        for library, condition in re.findall(r"^ *Until (\S+) > \S+: (.*)$", text, re.M):
            yield f"patches/{module.name}", library, condition


def listed(newer: Mapping[str, tuple[str, str]]) -> str:
    """Libraries with both versions."""
    return ", ".join(f"{name} {then} -> {now}" for name, (then, now) in newer.items())


def call(command: list[str]) -> str:
    """The output of a command; raises `InputError` if it fails."""
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode:
        reason = (done.stderr.strip() or "no reason").splitlines()[-1]
        raise InputError(f"{' '.join(command[:6])} ...: {reason}")
    return done.stdout


def say(text: str) -> None:
    """Print what is done now, at once."""
    print(f"canary: {text}", flush=True)


if __name__ == "__main__":
    program(main)
