"""Check a bundle of make_bundle.py, and unpack it into this clone, so that its study is up to date.

Run it in the folder that holds the Snakefile. First it checks the size and SHA-256 of every file,
and that no file is missing, duplicate, a link, or badly named. It refuses a bundle with a bad file,
which it names, and a bundle whose results differ from results in this folder (--overwrite replaces
them). Nothing is written then. Only results and logs are unpacked, not the code. If the config here
does not know the study, its entries are added to config/local.yaml. If it is killed meanwhile, the
next Snakemake or program of bundles goes on. At the end it says which jobs Snakemake would still
run, for example because the code is of another commit.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import _path  # noqa: F401  finds multical
from multical.bundle import archive, contents, entries, unbundling
from multical.bundle.archive import Bundle, Entry, Restore
from multical.bundle.unbundling import Plan
from multical.config import files, schema
from multical.config.files import LOCAL, Data
from multical.dag import dryrun
from multical.errors import InputError, program
from multical.files import sha256
from multical.paths import INPUTS
from multical.workflow import drivers


def main() -> None:
    args = arguments()
    check_here()
    plan = unbundling.unbundle(partial(prepared, args.bundle, args.overwrite))
    bundle = archive.read(args.bundle)
    study = bundle.restore.study
    print(f"{args.bundle}: {len(bundle.files)} files of {study}, all as its crate says")
    if plan.entries:
        print(f"{LOCAL}: has new entries: {', '.join(entries.names_of(plan.entries))}")
    for line in notes(bundle.restore):
        print(line)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, metavar="ZIP")
    parser.add_argument("--overwrite", action="store_true", help="replace other results")
    return parser.parse_args()


def check_here() -> None:
    """Raise `InputError` if a Snakemake runs here, or could not."""
    files.check_first(".")
    for driver in drivers.load_all():
        if driver.alive or not driver.here:
            raise InputError(f"{driver}: at work in this folder, expected none")


def prepared(path: Path, overwrite: bool, folder: Path) -> Plan:
    """Unpack a bundle into a folder, and check it against what is here; see `unbundling`."""
    bundle = archive.unpack(path, folder)
    conflicts = sorted(differing(bundle))
    if conflicts and not overwrite:
        more = f", and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
        raise InputError(
            f"{path}: {conflicts[0]}{more}: here with another content, expected the "
            "same or none (--overwrite replaces it)"
        )
    added = new_entries(bundle, folder, path)
    if added:
        entries.with_own(added)
    plan = Plan(
        bundle=str(path),
        times=dict(earlier_inputs(bundle)),
        entries=added,
        again=list(staged(bundle, folder, overwrite)),
        records={name: record.model_dump() for name, record in bundle.restore.records.items()},
        machines=[machine.model_dump() for machine in bundle.restore.machines],
    )
    check_here()  # again, since it may have taken minutes
    return plan


def new_entries(bundle: Bundle, unpacked: Path, name: Path) -> Data:
    """The entries that the config here needs for the study of a bundle; none if it has the study.

    Raises `InputError` if the bundle lacks the study's entry, or the entries do not fit the config.
    """
    study, config = bundle.restore.study, files.read()
    if study in config.get("studies", {}):
        return {}
    place = f"{archive.about_folder(study)}/config.yaml"
    try:
        given = entries.read(unpacked / place)
    except InputError as error:
        raise InputError(str(error).replace(f"{unpacked}/", f"{name}: ")) from error
    if study not in given.get("studies", {}):
        raise InputError(f"{name}: {place}: no entry studies.{study}, expected one")
    for key in entries.different(given, config):
        print(f"{key}: stays as it is here, the study was made with another")
    added = entries.missing(given, config)
    try:
        schema.load(entries.joined(config, added))
    except InputError as error:
        raise InputError(f"{name}: {place}: {error}") from error
    return added


def differing(bundle: Bundle) -> Iterator[str]:
    """The results that exist here with another content; raises `InputError` for non-files."""
    folder = archive.about_folder(bundle.restore.study)
    for name, entry in bundle.files.items():
        here = Path(name)
        if here.is_symlink() or (here.exists() and not here.is_file()):
            raise InputError(f"{name}: here it is no regular file, expected a file or nothing")
        if blocked := [path for path in here.parents if path.exists() and not path.is_dir()]:
            raise InputError(f"{blocked[0]}: here it is a file, expected a folder or nothing")
        is_result = not name.startswith((f"{folder}/", "logs/"))
        if is_result and here.exists() and not is_same(name, entry):
            yield name


def is_same(name: str, entry: Entry) -> bool:
    """Whether a file exists here with the content of `entry`."""
    here = Path(name)
    return here.is_file() and here.stat().st_size == entry.bytes and sha256(here) == entry.sha256


def staged(bundle: Bundle, folder: Path, overwrite: bool) -> Iterator[str]:
    """The files to put into place, which get their times. Others are removed from the folder."""
    for name, entry in bundle.files.items():
        here, unpacked = Path(name), folder / name
        stays = name.startswith("logs/") and here.exists() and not overwrite
        if stays or is_same(name, entry):
            unpacked.unlink()
        else:
            os.utime(unpacked, (entry.time, entry.time))
            yield name


def earlier_inputs(bundle: Bundle) -> Iterator[tuple[str, int]]:
    """The inputs that the bundle's author made earlier than they were made here, and when.

    They have the same content, and must not be newer than what the bundle made from them.
    """
    for name, entry in (bundle.files | bundle.restore.left_out).items():
        is_here = entry and name.startswith(f"{INPUTS}/") and is_same(name, entry)
        if entry and is_here and entry.time < Path(name).stat().st_mtime:
            yield name, entry.time


def notes(restore: Restore) -> Iterator[str]:
    """Notes on missing or changed files, on another commit, and on jobs that would run."""
    for name, digest in restore.needed.items():
        if not Path(name).is_file():
            yield f"{name}: the study was made from it, and it is not here"
        elif digest is not None and sha256(name) != digest:
            yield f"{name}: the study was made from another content of it"
    commit, _ = contents.commit()
    if restore.commit and restore.commit != commit:
        yield f"its code is of commit {restore.commit}, here it is {commit or 'not known'}"
    try:
        with dryrun.opened(restore.targets, None) as (workflow, _):
            jobs = Counter(
                job.rule.name
                for job in workflow.dag.needrun_jobs(exclude_finished=False)
                if not job.rule.norun
            )
    except InputError as error:
        yield f"what would run is not known: {error}"
        return
    counts = ", ".join(f"{count} {rule}" for rule, count in sorted(jobs.items()))
    yield f"Snakemake would run {counts}" if jobs else "nothing to do"


if __name__ == "__main__":
    program(main)
