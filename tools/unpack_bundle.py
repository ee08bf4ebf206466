"""Check a bundle of make_bundle.py, and unpack it into this clone: then there is nothing to do.

Run it in the folder that holds the Snakefile. All is checked first: every file's size and
SHA-256, that none is missing, twice there, a link, or outside results/ and logs/. A bundle that
fails is refused with the name of the bad file, and so is one with other results than are here
(--overwrite replaces them); nothing is written then. At the end it says what Snakemake would run
all the same, as with the code of another commit.
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
from multical.bundle import archive, contents, metadata
from multical.bundle.archive import Entry, Manifest
from multical.dag import dryrun
from multical.errors import InputError, program
from multical.files import atomic, sha256, write_json
from multical.provenance import hosts
from multical.workflow import drivers


def main() -> None:
    args = arguments()
    check_here(manifest := archive.read_manifest(args.bundle))
    with tempfile.TemporaryDirectory(prefix=".unbundle-", dir="results") as folder:
        archive.unpack(args.bundle, Path(folder))
        own = Path(folder, manifest.own)
        records = metadata.read(own / "snakemake.json", manifest)
        machines = metadata.machines(own / "machines.json", manifest)
        conflicts = sorted(differing(manifest))
        if conflicts and not args.overwrite:
            more = f", and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
            raise InputError(
                f"{args.bundle}: {conflicts[0]}{more}: here with another content, expected the "
                "same or none (--overwrite replaces it)"
            )
        put(manifest, Path(folder), args.overwrite)
    write_json(f"{manifest.own}/manifest.json", manifest.model_dump())
    metadata.write(records, again=set(conflicts))
    hosts.note(machines)
    print(
        f"{args.bundle}: {len(manifest.files)} files of {manifest.study}, all as its manifest says"
    )
    for line in notes(manifest):
        print(line)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, metavar="TAR.GZ")
    parser.add_argument("--overwrite", action="store_true", help="replace other results")
    return parser.parse_args()


def check_here(manifest: Manifest) -> None:
    """Raise `InputError` where the config does not know the study, or a Snakemake is at work."""
    for driver in drivers.load_all():
        if driver.alive or not driver.here:
            raise InputError(f"{driver}: at work in this folder, expected none")
    if manifest.study not in (known := contents.studies()):
        raise InputError(
            f"{manifest.study}: no study of config.yaml here, expected one of {sorted(known)}"
        )


def differing(manifest: Manifest) -> Iterator[str]:
    """The results that are here with another content. `InputError` for what is no file here."""
    for name in manifest.files:
        here = Path(name)
        if here.is_symlink() or (here.exists() and not here.is_file()):
            raise InputError(f"{name}: here it is no regular file, expected a file or nothing")
        if blocked := [one for one in here.parents if one.exists() and not one.is_dir()]:
            raise InputError(f"{blocked[0]}: here it is a file, expected a folder or nothing")
        told = name.startswith((f"{manifest.own}/", "logs/"))  # of the bundle, of jobs
        if not told and here.exists() and not is_same(name, manifest.files[name]):
            yield name


def is_same(name: str, entry: Entry) -> bool:
    """Whether a file is here with that content."""
    here = Path(name)
    return here.is_file() and archive.entry(here, entry.time) == entry


def put(manifest: Manifest, unpacked: Path, overwrite: bool) -> None:
    """Move files into place with their times. What is here with the same content stays."""
    for name, entry in manifest.files.items():
        here = Path(name)
        kept = is_same(name, entry) or (
            name.startswith("logs/") and here.exists() and not overwrite
        )
        if not kept:
            with atomic(here) as temporary:
                shutil.move(unpacked / name, temporary)
                os.utime(temporary, (entry.time, entry.time))
    for name, known in (manifest.files | manifest.left_out).items():
        # made here before, perhaps: no newer than the records of the bundle that are made of it
        if known and name.startswith("results/inputs/") and is_same(name, known):
            time = min(known.time, Path(name).stat().st_mtime)
            os.utime(name, (time, time))


def notes(manifest: Manifest) -> Iterator[str]:
    """What the reader should know: of files, of another commit, and of what would run."""
    for name, digest in manifest.needed.items():
        if not Path(name).is_file():
            yield f"{name}: the study was made from it, and it is not here"
        elif digest is not None and sha256(name) != digest:
            yield f"{name}: the study was made from another content of it"
    commit, _ = contents.commit()
    if manifest.commit and manifest.commit != commit:
        yield f"its code is of commit {manifest.commit}, here it is {commit or 'not known'}"
    try:
        with dryrun.opened(manifest.targets, None) as (workflow, _):
            jobs = Counter(
                job.rule.name
                for job in workflow.dag.needrun_jobs(exclude_finished=False)
                if not job.rule.norun
            )
    except InputError as error:
        yield f"what would run is not known: {error}"
        return
    told = ", ".join(f"{count} {rule}" for rule, count in sorted(jobs.items()))
    yield f"Snakemake would run {told}" if jobs else "nothing to do"


if __name__ == "__main__":
    program(main)
