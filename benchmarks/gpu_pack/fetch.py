"""`make gpu-wheels`: fetch wheels for a machine that cannot download, at most 60 MB with the code.

Another Python than 3.12, or a platform other than Linux on x86-64, wants other wheels: see --help.
Of two packages, files that the checks do not use are left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
LIMIT = 60_000_000
#: Versions of glibc that wheels name; pip matches each exactly
GLIBC = ("2_34", "2_31", "2_28", "2_27", "2_24", "2_17")
#: Tasks of the harness, and libraries of bitsandbytes for other chips and for CUDA 11
UNUSED = ("lm_eval/tasks/*/*", "*_rocm*.so", "*_xpu*.so", "*_cuda11*.so")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default="3.12", help="its version (default: %(default)s)")
    parser.add_argument("--machine", default="x86_64", help="(default: %(default)s)")
    parser.add_argument("--into", type=Path, default=HERE.parent / "wheels", metavar="FOLDER")
    args = parser.parse_args()
    args.into.mkdir(exist_ok=True)
    for old in args.into.glob("*.whl"):
        old.unlink()
    platforms = [f"manylinux_{number}_{args.machine}" for number in GLIBC]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={args.python}"]
    command += [f"--platform={one}" for one in [*platforms, f"manylinux2014_{args.machine}"]]
    command += [f"--dest={args.into}", f"--requirement={HERE / 'requirements.txt'}"]
    subprocess.run(command, check=True)
    for wheel in args.into.glob("*.whl"):
        without(wheel, UNUSED)
    print(report(sum(map(size, args.into.glob("*.whl"))), code()))


def without(wheel: Path, unused: tuple[str, ...]) -> None:
    """Rewrite a wheel without the files of some patterns."""
    with zipfile.ZipFile(wheel) as archive:
        members = archive.infolist()
        kept = [one for one in members if not any(fnmatch(one.filename, p) for p in unused)]
        if len(kept) == len(members):
            return
        smaller = wheel.with_suffix(".tmp")
        with zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED) as target:
            for member in kept:
                target.writestr(member, archive.read(member))
    smaller.replace(wheel)


def size(file: Path) -> int:
    return file.stat().st_size


def code() -> int:
    """Bytes of the files that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPO, check=True, capture_output=True, text=True
    )
    files = (REPO / name for name in listed.stdout.split("\0") if name)
    return sum(size(file) for file in files if file.is_file())


def report(wheels: int, code: int) -> str:
    """What is carried, in MB; exits with an error if that is more than may be."""
    said = f"{wheels / 1e6:.1f} MB of wheels and {code / 1e6:.1f} MB of code"
    if wheels + code > LIMIT:
        raise SystemExit(f"error: {said}, expected at most {LIMIT / 1e6:.0f} MB in all")
    return said


if __name__ == "__main__":
    main()
