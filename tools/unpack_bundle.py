"""Check a bundle of make_bundle.py, and unpack it into this clone, so that its study is up to date.

Run it in the folder that holds the Snakefile. First it checks the size and SHA-256 of every file,
and that no file is missing, duplicate, a link, or badly named. It refuses a bundle with a bad file,
which it names, and a bundle whose results differ from results in this folder (--overwrite replaces
them). Nothing is written then. Only results and logs are unpacked, not the code. If the config here
does not know the study, its entries are added to config/local.yaml. At the end it says
which jobs Snakemake would still run, for example because the code is of another commit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import _path  # noqa: F401  finds multical
from multical.bundle import archive, contents, entries
from multical.bundle.archive import Bundle, Entry, Restore
from multical.config import files, schema
from multical.config.files import LOCAL, Data
from multical.dag import dryrun
from multical.errors import InputError, program
from multical.files import atomic, sha256
from multical.patches.snakemake import write_records
from multical.paths import INPUTS
from multical.provenance import hosts
from multical.workflow import drivers


def main() -> None:
    args = arguments()
    check_here()
    with tempfile.TemporaryDirectory(prefix=".unbundle-", dir="results") as folder:
        bundle = archive.unpack(args.bundle, Path(folder))
        restore = bundle.restore
        records = contents.checked_records(restore, f"{args.bundle}: {archive.RESTORE}")
        conflicts = sorted(differing(bundle))
        if conflicts and not args.overwrite:
            more = f", and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
            raise InputError(
                f"{args.bundle}: {conflicts[0]}{more}: here with another content, expected the "
                "same or none (--overwrite replaces it)"
            )
        added = new_entries(bundle, Path(folder), args.bundle)
        text = entries.with_own(added) if added else None
        put(bundle, Path(folder), args.overwrite)
        if text:
            with atomic(LOCAL) as temporary:
                temporary.write_text(text, encoding="utf-8")
    write_records(records, again=conflicts)
    hosts.note([machine.model_dump() for machine in restore.machines])
    print(f"{args.bundle}: {len(bundle.files)} files of {restore.study}, all as its crate says")
    if added:
        print(f"{LOCAL}: has new entries: {', '.join(entries.names_of(added))}")
    for line in notes(restore):
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


def put(bundle: Bundle, unpacked: Path, overwrite: bool) -> None:
    """Move files into place with their times. Files with the same content stay as they are."""
    for name, entry in bundle.files.items():
        here = Path(name)
        stays = name.startswith("logs/") and here.exists() and not overwrite
        if not stays and not is_same(name, entry):
            with atomic(here) as temporary:
                shutil.move(unpacked / name, temporary)
                os.utime(temporary, (entry.time, entry.time))
    for name, content in (bundle.files | bundle.restore.left_out).items():
        # an input that was made here before must not be newer than what the bundle made from it
        if content and name.startswith(f"{INPUTS}/") and is_same(name, content):
            time = min(content.time, Path(name).stat().st_mtime)
            os.utime(name, (time, time))


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
