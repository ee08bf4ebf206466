"""Fetch all that a study needs from a network, and nothing else: `make fetch STUDY=...`.

First it says what is still to be fetched, what of it is gated, and what cannot be had. Snakemake
then fetches the rest; if it is interrupted, the same command goes on. In the end all files are
compared with their checksums, which are listed in results/inputs/fetched.sha256. After that only
models behind APIs need a network.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import _path  # noqa: F401  finds multical
from multical import paths
from multical.cluster import inputs
from multical.cluster.checks import Findings, checked, warn
from multical.config import files
from multical.config.schema import Config
from multical.dag import downloads
from multical.dag.downloads import Download
from multical.dag.dryrun import counted
from multical.errors import InputError, program
from multical.files import atomic

LIST = Path(paths.FETCHED)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", metavar="ROOT", required=True, help="as in the config")
    parser.add_argument("--cores", default="2", metavar="N", help="(default: %(default)s)")
    args = parser.parse_args()
    config = files.load()
    if args.study not in config.studies:
        raise InputError(f"{args.study}: not in the config, expected one of {list(config.studies)}")
    found = downloads.of_study(config, args.study)
    missing = [one for one in found if not one.made]
    closed = set(tell(config, missing))
    fetch([one for one in missing if one.subject not in closed and not one.asked], args.cores)
    needed = [one for one in found if not one.asked]
    here = [one for one in needed if one.is_here]
    say(f"{check(here)}, as they were fetched: {LIST}")
    if lacking := sorted({one.subject for one in needed if one not in here} | closed):
        raise InputError(
            f"{args.study}: not fetched: {', '.join(lacking)}; the same command goes on"
        )
    say(f"{args.study}: all is here")


def tell(config: Config, missing: list[Download]) -> Iterator[str]:
    """Say what is to be fetched, and what cannot be and why; yields the subjects of the latter."""
    for subject, one in {one.subject: one for one in missing}.items():
        for finding in checked(subject, access, config, one):
            say(str(finding))
            if finding.level == "error":
                yield subject


def access(config: Config, one: Download) -> Findings:
    """Whether what a job reads can be fetched from here, in the words of `make doctor`."""
    name = one.name
    match one.rule:
        case "fetch_model":
            yield from inputs.model(config, name)
        case "import_released":
            yield from inputs.release(name, config.released(name))
        case "make_benchmark":
            made = Path(paths.BENCHMARK.format(benchmark=name))
            source = config.benchmarks[name].source
            yield from inputs.data(one.subject, source, made, f"benchmarks.{name}.source")
        case "make_sft_data":
            made = Path(paths.SFT_DATA.format(sft=name))
            yield from inputs.data(
                one.subject, config.sft_data[name].source, made, f"sft_data.{name}.source"
            )
        case _:
            message = f"{config.api(name).url} is asked while the study runs"
            yield warn(one.subject, message, "run the study where there is a network")


def fetch(missing: list[Download], cores: str) -> None:
    """Have Snakemake run jobs, with bars of its progress; what fails leaves no files."""
    if not missing:
        return
    command = [sys.executable, "-m", "snakemake", "--cores", cores, "--rerun-incomplete"]
    command += ["--keep-going", "--logger", "study", "--"]
    command += [output for one in missing for output in one.outputs]
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environ) as snakemake:
        try:
            snakemake.wait()
        except KeyboardInterrupt:  # which Snakemake has met, too: it stops its jobs, and unlocks
            snakemake.wait()
            sys.exit(130)


def check(here: list[Download]) -> str:
    """Compare files with their manifests and with the list, and write the list anew.

    Returns how many there are. Raises `InputError` for the first file with another content.
    """
    listed, then = read(), LIST.stat().st_mtime if LIST.exists() else 0.0
    found: dict[str, str] = {}
    for one in here:
        sums = one.checksums()
        expected = manifest(one)
        if one.made and one.ended < then:  # else the list is of files that were there before
            expected |= {file: listed[file] for file in sums.keys() & listed.keys()}
        for file, digest in sorted(expected.items()):
            if sums.get(file) != digest:
                (output,) = [output for output in one.outputs if Path(file).is_relative_to(output)]
                raise InputError(
                    f"{file}: its content is not what was fetched; remove {output}, and fetch it "
                    "again"
                )
        found |= sums
    with atomic(LIST) as temporary:
        rows = sorted((listed | found).items())
        temporary.write_text("".join(f"{digest}  {file}\n" for file, digest in rows), "utf-8")
    size = sum(Path(file).stat().st_size for file in found)
    return f"{counted(len(found), 'file')}, {size / 1e9:.1f} GB"


def manifest(one: Download) -> dict[str, str]:
    """The SHA-256 of each file of a model, by its manifest; empty for other data."""
    return {
        str(Path(output).with_name("checkpoint") / name): about["sha256"]
        for output in one.outputs
        if output.endswith("/manifest.json")
        for name, about in json.loads(Path(output).read_text(encoding="utf-8"))["files"].items()
    }


def read() -> dict[str, str]:
    """The SHA-256 of each file in the list, as far as the file exists."""
    lines = LIST.read_text(encoding="utf-8").splitlines() if LIST.exists() else []
    pairs = (line.split("  ", 1) for line in lines)
    return {file: digest for digest, file in pairs if Path(file).exists()}


def say(text: str) -> None:
    """Print a message at once."""
    print(text, flush=True)


if __name__ == "__main__":
    program(main)
