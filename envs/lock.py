"""Write the lock anew, from requirements.in: versions, and checksums of all files that may be used.

`make lock` runs it with a Python 3.11 that has nothing but pip. pip resolves versions for both
builds of torch, and finds the files, as its settings say; nothing is installed. It must know an
index with torch's CPU builds.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from choose import LOCK, MARK
from generate import main as generate
from pip._internal.commands import create_command
from pip._internal.models.target_python import TargetPython

ASKED = Path(__file__).with_name("requirements.in")
#: Where an environment may be made: Linux with glibc on two processors, and macOS on one
MACHINES = ("x86_64", "aarch64")
PLATFORMS = [
    *(f"manylinux_2_{minor}_{machine}" for machine in MACHINES for minor in range(5, 43)),
    *(f"{old}_{machine}" for machine in MACHINES for old in ("manylinux2014", "linux")),
    "macosx_15_0_arm64",
]
HEAD = """\
# Exact versions of everything that multical runs on, made by `make lock` from requirements.in, with
# the checksums of their files. After `#cuda` comes what torch's CUDA build needs besides:
# envs/choose.py takes it in or leaves it out.
"""

Pins = dict[str, str]


def main() -> None:
    (torch,) = re.findall(r"^torch==(\S+)", ASKED.read_text(encoding="utf-8"), re.MULTILINE)
    pins = resolved("--requirement", str(ASKED), f"torch=={torch}+cpu") | {"torch": torch}
    write(pins)


def write(pins: Pins) -> None:
    """Write the lock of versions, and its other forms."""
    asked = [f"{name}=={version}" for name, version in pins.items() if name != "torch"]
    both = resolved(*asked, f"torch==={pins['torch']}")
    only = {name: version for name, version in both.items() if name not in pins}
    text = HEAD + "".join(entries(pins)) + "".join(
        MARK + line for entry in entries(only) for line in entry.splitlines(keepends=True)
    )  # fmt: skip
    LOCK.write_text(text, encoding="utf-8")
    generate()


def resolved(*requirements: str) -> Pins:
    """The version of each library that pip would install, by its name, without torch's build."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    done = subprocess.run(
        [*command, "--report", "-", *requirements], check=True, stdout=subprocess.PIPE, text=True
    )
    found = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    pins = {each["name"]: each["version"].partition("+")[0] for each in found}
    return dict(sorted(pins.items(), key=lambda pin: pin[0].lower()))


def entries(pins: Mapping[str, str]) -> Iterator[str]:
    """The lines of each library: its version, and the checksums of its files."""
    command: Any = create_command("download")
    options, _ = command.parse_args([])
    with command.main_context():
        finder = command._build_package_finder(
            options=options,
            session=command.get_default_session(options),
            target_python=TargetPython(platforms=PLATFORMS, py_version_info=(3, 11)),
        )
        for name, version in pins.items():
            found = {
                checksum(candidate.link)
                for candidate in finder.find_all_candidates(name)
                if str(candidate.version).partition("+")[0] == version
                and candidate.version.local in (None, "cpu")
            }
            sums = sorted(found.union(known(name, version)))
            if not sums:
                raise SystemExit(f"error: {name}=={version}: no file of it, expected some")
            hashes = (f"    --hash=sha256:{digest}" for digest in sums)
            yield " \\\n".join([f"{name}=={version}", *hashes]) + "\n"


def known(name: str, version: str) -> list[str]:
    """The checksums that the lock has of this version: another index may have more files."""
    lines = LOCK.read_text(encoding="utf-8").replace(MARK, "") if LOCK.exists() else ""
    entry = re.search(rf"^{re.escape(name)}=={re.escape(version)} \\\n((?:    .*\n)+)", lines, re.M)
    return re.findall(r"sha256:(\w+)", entry[1]) if entry else []


def checksum(link: Any) -> str:
    """The SHA-256 of a file, which an index says; of a local file it is computed."""
    if link.is_file:
        return hashlib.sha256(Path(link.file_path).read_bytes()).hexdigest()
    if link.hash_name != "sha256":
        raise SystemExit(f"error: {link.filename}: found no SHA-256, expected one")
    return str(link.hash)


if __name__ == "__main__":
    main()
