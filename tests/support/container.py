"""The container of envs/Containerfile, without a builder: its steps, one by one, in a clean root.

debootstrap makes the root of Debian, in place of the image that the recipe starts from. Steps and
programs run in it by chroot, with the mounts in a namespace of their own, which needs root.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

from support.checkout import REPO

RECIPE = REPO / "envs/Containerfile"
RELEASE = "bookworm"
#: Options of pip that name a file or folder of this machine
PATHS = ("cert", "find-links", "constraint")


def impossible() -> str | None:
    """Why no container can be made here, or None."""
    if os.geteuid() != 0:
        return "only root can"
    if shutil.which("debootstrap", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        return "debootstrap is not installed (Debian: debootstrap)"
    return None


class Container:
    """A root in which the steps of the recipe have run; all of it lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.volumes = _pip_of_this_machine(folder)
        self.environment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        paths = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        _run("debootstrap", "--variant=minbase", RELEASE, str(self.root), environment=paths)
        for line in RECIPE.read_text(encoding="utf-8").splitlines():
            step, _, rest = line.partition(" ")
            if step == "COPY":
                source, target = rest.split()
                shutil.copy(RECIPE.parent / source, f"{self.root}{target}")
            elif step == "RUN":
                self.run(folder, "sh", "-c", rest)
            elif step == "ENV":
                _, path = self.environment[0].split("=", 1)
                self.environment = rest.replace("$PATH", path).split()
            else:
                assert step in ("#", "ARG", "FROM", "WORKDIR"), line

    def run(self, folder: Path, *command: str) -> str:
        """The output of a command in the root, with `folder` as its working directory."""
        lines = [f"mount --rbind /dev {self.root}/dev", f"mount -t proc proc {self.root}/proc"]
        for target, source in {"/multical": folder, **self.volumes}.items():
            place = f"{self.root}{target}"
            make = "mkdir -p" if source.is_dir() else "touch"
            lines.append(f"mkdir -p $(dirname {place}) && {make} {place}")
            lines.append(f"mount --bind {source} {place}")
        inside = shlex.quote(f"cd /multical && exec {shlex.join(command)}")
        told = " ".join(self.environment)
        lines.append(f"exec chroot {self.root} env -i {told} sh -c {inside}")
        return _run("unshare", "--mount", "sh", "-ec", "\n".join(lines))


def _pip_of_this_machine(folder: Path) -> dict[str, Path]:
    """The files that tell pip where its packages are, by their places in the root."""
    told = _run(sys.executable, "-m", "pip", "config", "list")
    config, volumes = ConfigParser(interpolation=None), {}
    config["global"] = {}
    config["install"] = {"no-compile": "false"}  # pip's word for true; few modules are imported
    for line in told.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        value = value.strip("'\"")
        if name in PATHS and section in ("global", ":env:") and Path(value).exists():
            config["global"][name] = f"/opt/pip/{name}"
            volumes[f"/opt/pip/{name}"] = Path(value).resolve()
    with open(folder / "pip.conf", "w") as stream:
        config.write(stream)
    return volumes | {"/etc/pip.conf": folder / "pip.conf"}


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-5000:]}{done.stderr[-5000:]}"
    return done.stdout
